"""The house keeps its own rules: what no other tool looks after."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from configs.load import schema
from deploy.rollout import diagram

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def packages() -> set[str]:
    return {file.parent.name for file in ROOT.glob("*/__init__.py")}


def test_every_package_is_under_the_import_contracts() -> None:
    assert packages() == set(PROJECT["tool"]["importlinter"]["root_packages"])


def test_every_package_is_typed_and_shipped() -> None:
    assert packages() == set(PROJECT["tool"]["mypy"]["packages"])
    assert packages() == set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def test_every_package_says_what_it_is() -> None:
    silent = [name for name in packages() if not (ROOT / name / "__init__.py").read_text().startswith('"""')]
    assert not silent


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "common", "helpers", "core", "misc"}
    assert not [file for name in packages() for file in (ROOT / name).rglob("*.py") if file.stem in drawers]


def test_published_schema_is_the_code_s() -> None:
    written = json.loads((ROOT / "docs" / "reference" / "project.schema.json").read_text())
    assert written == schema()


def test_drawn_machine_is_the_code_s() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in page


def test_settings_reference_names_every_key() -> None:
    page = (ROOT / "docs" / "reference" / "project-file.md").read_text()
    assert page == generator().project_file(schema())


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_and_powerless(file: Path) -> None:
    text = file.read_text()
    used = re.findall(r"uses:\s*(\S+)", text)
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)]
    assert "\npermissions: {}\n" in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not broken


def test_make_and_ci_share_one_vocabulary() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "unit", "check", "bench", "docs", "setup", "e2e"} <= targets
    called = {
        target
        for file in (*WORKFLOWS, ROOT / ".ci" / "run")
        for target in re.findall(r"\bmake (?:--keep-going )?([a-z][a-z0-9-]*)", file.read_text())
    }
    assert called - {"test", "check"} <= targets
    assert {"test", "check"} <= called


def generator() -> ModuleType:
    """`docs/reference.py`, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
