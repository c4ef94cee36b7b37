"""The script that makes rows of captured records."""

from __future__ import annotations

import sys

import pytest

from steps.errors import CodeFailed
from steps.handlers import preprocess


def test_a_script_and_what_lies_beside_it(tmp_path):
    (tmp_path / "units.py").write_text("FACTOR = 3\n")
    script = tmp_path / "rows_of_late.py"
    script.write_text("from units import FACTOR\ndef preprocess_handler(record):\n    return {'x': FACTOR}\n")
    found = preprocess(script)
    assert found.handler(None) == {"x": 3}
    assert not {"units", "rows_of_late"} & set(sys.modules)
    script.write_text(script.read_text().replace("FACTOR}", "FACTOR + 100}"))
    again = preprocess(script)
    assert again.digest != found.digest
    assert again.handler(None) == {"x": 103}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows_a.py", "x = 1", "has no 'preprocess_handler'"),
        ("rows_b.py", "preprocess_handler = 1", "is no function"),
        ("rows_c.py", "import nothing_like_this", "there is no module 'nothing_like_this'"),
        ("rows.txt", "", "is no Python module"),
    ],
)
def test_what_is_wrong_with_a_script(tmp_path, name, content, problem):
    (tmp_path / name).write_text(content)
    with pytest.raises(CodeFailed, match=problem):
        preprocess(tmp_path / name)


def test_no_script(tmp_path):
    with pytest.raises(CodeFailed, match="cannot be read"):
        preprocess(tmp_path / "rows.py")
