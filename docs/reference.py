"""Write the generated pages of docs/reference and the diagram in docs/explanation; `--check` only compares.

Each page is made from the code that it describes, so it cannot go stale: the project file's schema, the command
line, and the table of the rollout machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

BEGIN, END = "<!-- rollout diagram: begin -->", "<!-- rollout diagram: end -->"


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    from configs.load import schema

    known = schema()
    architecture = DOCS / "explanation" / "architecture.md"
    return {
        DOCS / "reference" / "project.schema.json": json.dumps(known, indent=2, ensure_ascii=False) + "\n",
        DOCS / "reference" / "project-file.md": project_file(known),
        DOCS / "reference" / "cli.md": command_line(),
        architecture: with_diagram(architecture.read_text()),
    }


def with_diagram(text: str) -> str:
    """The page with the machine's diagram as it is in the code now."""
    from deploy.rollout import diagram

    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```mermaid\n{diagram()}\n```\n{END}{after}"


# --- the project file ---------------------------------------------------------------------------------------


def project_file(known: Mapping[str, Any]) -> str:
    """One table for each section of the project file, in the order in which they are met."""
    lines = [
        "# The project file",
        "",
        "_Generated from the schema by `make docs`._ The same schema as JSON is",
        "[project.schema.json](project.schema.json); editors complete and check with it when the file begins with",
        "`# yaml-language-server: $schema=…/project.schema.json`.",
        "",
        "Unknown keys are errors. Durations are written `250ms`, `30s`, `10m`, `1h30m`; shares and weights `10%`.",
        "A problem is reported as `file:line:column: key: what to do`, all problems at once.",
        "",
    ]
    for name, section in sections(known):
        lines += [f"## {name}", "", first_line(section), "", "| Key | Type | Default | Meaning |", "|---|---|---|---|"]
        required = section.get("required", [])
        for key, field in section.get("properties", {}).items():
            default = "**required**" if key in required else shown_default(field)
            about = field.get("description") or first_line(target(known, field))
            lines.append(f"| `{key}` | {kind(field)} | {cell(default)} | {cell(about)} |")
        lines.append("")
    return "\n".join(lines)


def sections(known: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The project itself, then every section that it refers to, breadth first."""
    yield "Project", known
    met, waiting = set[str](), list(references(known.get("properties", {})))
    while waiting:
        name = waiting.pop(0)
        if name in met:
            continue
        met.add(name)
        section = known["$defs"][name]
        yield name, section
        waiting += references(section.get("properties", {}))


def references(value: Any) -> Iterator[str]:
    """Names of the definitions that a piece of schema refers to."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"].rsplit("/", 1)[1]
        for key, inner in value.items():
            if key != "discriminator":
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def target(known: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition that a field refers to, if any."""
    name = next(references(field), "")
    return known["$defs"].get(name, {})


def kind(field: Mapping[str, Any]) -> str:
    """A field's type in a few words, linked where it is a section."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(kind(one) for one in options if one.get("type") != "null"))
    if field.get("type") == "array":
        return f"list of {kind(field.get('items', {}))}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {kind(field['additionalProperties'])}"
    if "ms|s|m|h" in field.get("pattern", ""):
        return "duration"
    if field.get("pattern", "").endswith("%$"):
        return "percent"
    return str(field.get("type", "any"))


def first_line(section: Mapping[str, Any]) -> str:
    """What a section is, in one line."""
    return section.get("description", "").split("\n\n")[0].replace("\n", " ")


def shown_default(field: Mapping[str, Any]) -> str:
    """A field's default; a section's are listed in its own table."""
    value = field.get("default")
    return "" if isinstance(value, Mapping) and value or value is None else f"`{json.dumps(value)}`"


def cell(text: str) -> str:
    """Text that cannot break a table."""
    return text.replace("\n", " ").replace("|", "\\|")


# --- the command line ---------------------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its help, arguments and options."""
    from typer.main import get_command

    from seaway.cli import application

    lines = [
        "# The command line",
        "",
        "_Generated from the program by `make docs`._ Run it as `.venv/bin/seaway`, or after",
        "`source .venv/bin/activate` as `seaway`. `SEAWAY_HOME` names the installation (default `.seaway`).",
        "",
    ]
    lines += described(get_command(application()), ("seaway",))
    return "\n".join(lines)


def described(command: Any, path: tuple[str, ...]) -> list[str]:
    """A command, then its sub-commands."""
    lines: list[str] = []
    inner = getattr(command, "commands", None)
    if inner is None:
        usage = [f"{p.name.upper()}" if p.required else f"[{p.name.upper()}]" for p in arguments(command)]
        lines += [f"## `{' '.join((*path, *usage))}`", "", *paragraphs(command.help), ""]
        rows = [row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            lines += ["| Argument or option | Default | Meaning |", "|---|---|---|", *rows, ""]
        return lines
    for name in sorted(inner):
        lines += described(inner[name], (*path, name))
    return lines


def arguments(command: Any) -> list[Any]:
    """The positional parameters."""
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def paragraphs(text: str | None) -> list[str]:
    """Help text, with examples as code."""
    found = []
    for line in (text or "").strip().splitlines():
        example = line.strip().removeprefix("Example: ")
        found.append(f"    {example}" if example != line.strip() else line.strip())
    return found


def row(parameter: Any) -> str:
    """One parameter of a command."""
    positional = parameter.param_type_name == "argument"
    name = parameter.name.upper() if positional else ", ".join(parameter.opts)
    default = "**required**" if parameter.required else f"`{parameter.default}`"
    if not parameter.required and parameter.default in (None, "", False):
        default = ""
    return f"| `{name}` | {default} | {cell(getattr(parameter, 'help', None) or '')} |"


def main() -> int:
    """Write the pages, or tell which ones are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a page is out of date")
    options = parser.parse_args()
    stale = [file for file, text in pages().items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if options.check:
            print(f"{file.relative_to(DOCS.parent)} is out of date; run: make docs", file=sys.stderr)
        else:
            file.write_text(pages()[file])
            print(f"wrote {file.relative_to(DOCS.parent)}")
    if not stale:
        print("generated pages are up to date")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
