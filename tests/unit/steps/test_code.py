from __future__ import annotations

import sys
from pathlib import Path

import pytest

from steps.code import call, project_code, resolve
from steps.errors import CodeFailed


def project(folder: Path, text: str, name: str = "features") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return folder


def test_two_projects_with_the_same_module_name_do_not_meet(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = project(
            tmp_path / name, f"def f():\n    import features\n    return {name!r}, features.__file__\n"
        )
        with project_code(folder):
            assert call("features:f", "k") == (name, str(folder / "features.py"))
    assert "features" not in sys.modules
    assert str(tmp_path / "two") not in sys.path


def test_a_module_that_was_there_before_comes_back(tmp_path: Path) -> None:
    import colorsys

    with project_code(project(tmp_path / "p", "def f():\n    return 1\n", "colorsys")):
        assert call("colorsys:f", "k") == 1
    assert sys.modules["colorsys"] is colorsys


def test_a_folder_of_data_hides_no_installed_package(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", "")
    (folder / "json").mkdir()
    with project_code(folder):
        assert resolve("json:dumps", "k") is __import__("json").dumps


@pytest.mark.parametrize(
    ("dotted", "says"),
    [
        ("features:tabel", "did you mean table?"),
        ("absent:table", "there is no module 'absent'"),
        ("features:number", "is not a function"),
        ("features:table", "does not take the parameters"),
        ("features:breaks", r"raised ZeroDivisionError: .* \(features.py line 5\)"),
        ("table", "names no module"),
        ("broken:x", "importing broken failed with SyntaxError"),
    ],
)
def test_errors_name_the_key_and_the_cure(tmp_path: Path, dotted: str, says: str) -> None:
    folder = project(
        tmp_path / "p", "number = 3\ndef table(channels):\n    return 1\ndef breaks(**_):\n    return 1 / 0\n"
    )
    project(folder, "def (", "broken")
    with project_code(folder), pytest.raises(CodeFailed, match=f"process.function: .*{says}"):
        call(dotted, "process.function", month=3)
