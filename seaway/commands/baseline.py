"""`seaway baseline suggest|compare|to-suite|from-suite`: what data are like, and whether others are too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from seaway.console import FailOnViolation, Json, clear_errors, emit, fail, say, show

if TYPE_CHECKING:
    from monitoring.drift.shares import Rule
    from monitoring.findings import Finding
    from steps.baseline_files import Known

Texts = list[str] | None
Data = Annotated[Path, typer.Argument(help="Rows: a .csv, .parquet or .jsonl file, or a folder of them.")]
Folder = Annotated[
    Path, typer.Argument(help="Folder with statistics.json and constraints.json, or an unpacked package.")
]
Exclude = Annotated[Texts, typer.Option("--exclude", help="Leave this column out, for example the target.")]
_LONG = 40
"""Characters that a cell shows."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    baseline = typer.Typer(help="Baselines that later data are held against.", no_args_is_help=True)
    baseline.command()(suggest)
    baseline.command()(compare)
    baseline.command("to-suite")(to_suite)
    baseline.command("from-suite")(from_suite)
    app.add_typer(baseline, name="baseline")


def suggest(
    *,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")] = Path("baseline"),
    exclude: Exclude = None,
    numeric: Annotated[Texts, typer.Option("--numeric", help="This column is numbers.")] = None,
    categorical: Annotated[
        Texts, typer.Option("--categorical", help="This column is categories, also when they are numbers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Suggest a baseline from data: statistics.json and constraints.json, as SageMaker writes them.

    Data of any size are read a part at a time. constraints.json is for you to edit; profile.bin beside it
    keeps what statistics.json leaves out. A build does the same for its training data by itself.

    Example: seaway baseline suggest flights.parquet --out baseline --exclude late --categorical carrier
    """
    from steps import baseline_files, datasets

    with clear_errors():
        choice = datasets.Choice(tuple(exclude or ()), tuple(numeric or ()), tuple(categorical or ()))
        with _bar(quiet=as_json) as progress:
            profile = datasets.profile(data, choice, progress)
        known = baseline_files.suggest(profile)
        files = baseline_files.write(known, out)
    if as_json:
        emit({"rows": profile.rows, "features": _documents(known), "files": [str(file) for file in files]})
        return
    show(escape(f"{data}: {profile.rows:,} rows"), _described(known), as_json=False)
    for file in files:
        say(escape(f"wrote {file}"))


def compare(
    *,
    data: Data,
    baseline: Annotated[Path, typer.Option("--baseline", help="Folder of the baseline.")] = Path("baseline"),
    project: Annotated[
        Path | None, typer.Option("--project", help="Judge by monitor.data_quality of this project file.")
    ] = None,
    exclude: Exclude = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for constraint_violations.json and what belongs to it."),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode", help="evidence: worse by more than chance explains; sagemaker: any worse share."
        ),
    ] = "evidence",
    html: Annotated[
        Path | None, typer.Option("--html", help="File for a page with the distributions.")
    ] = None,
    fail_on_violation: FailOnViolation = False,
    as_json: Json = False,
) -> None:
    """Hold data against a baseline: what a monitor says of live traffic, for files.

    Example: seaway baseline compare today.csv --baseline baseline --html report.html --fail-on-violation
    """
    from steps import baseline_files, baseline_page, datasets

    with clear_errors():
        known, left_out = baseline_files.read(baseline), tuple(exclude or ())
        rule = _rule(mode, known)
        if project is not None:
            known, more, rule = _of_project(known, project)
            left_out += more
        with _bar(quiet=as_json) as progress:
            window = datasets.profile(data, baseline_files.reading(known, left_out), progress)
        finding = baseline_files.compare(known, window, left_out, rule)
        files = baseline_files.leave(baseline_files.report_files(finding), out) if out else ()
        if html is not None:
            shown = baseline_page.page(data.name, finding, known.profile, window)
            files += baseline_files.leave({html.name: shown.encode()}, html.parent)
    _tell(data, finding, known.notes, files, as_json=as_json)
    if fail_on_violation and finding.violations:
        raise typer.Exit(1)


def to_suite(
    *,
    baseline: Annotated[Path, typer.Argument(help="constraints.json, or a folder with it.")],
    suite: Annotated[Path, typer.Argument(help="File for the suite.")],
    name: Annotated[str, typer.Option("--name", help="Of the suite; the file's when not given.")] = "",
    as_json: Json = False,
) -> None:
    """Write constraints as a suite of Great Expectations, and say what a suite cannot tell.

    Example: seaway baseline to-suite baseline suite.json
    """
    from steps import suites

    with clear_errors():
        made = suites.export(baseline, suite, name)
    count = len(made.document["expectations"])
    if as_json:
        emit({"suite": str(suite), "expectations": count, "unsaid": list(made.unsaid)})
        return
    say(escape(f"wrote {suite}: {count} expectations"))
    for one in made.unsaid:
        say(escape(f"no expectation says {one}"))


def from_suite(
    *,
    suite: Annotated[Path, typer.Argument(help="A suite of Great Expectations, as JSON.")],
    constraints: Annotated[Path, typer.Argument(help="File for the constraints.")],
    like: Annotated[
        Path | None,
        typer.Option("--like", help="Constraints, or a baseline, whose thresholds hold for the rest."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a suite of Great Expectations as constraints, and say what constraints cannot tell.

    Example: seaway baseline from-suite suite.json baseline/constraints.json --like baseline
    """
    from steps import suites

    with clear_errors():
        made = suites.take_in(suite, like)
        if not made.constraints.features:
            raise fail(f"{suite} says nothing that constraints can; nothing was written")
        file = suites.written(made.constraints, constraints)
    count = len(made.constraints.features)
    if as_json:
        emit({"constraints": str(file), "features": count, "unsaid": list(made.unsaid)})
        return
    say(escape(f"wrote {file}: constraints of {count} columns"))
    for one in made.unsaid:
        say(escape(f"no constraint says {one}"))


def _rule(mode: str, known: Known) -> Rule:
    from monitoring.drift.shares import Rule
    from steps.baseline_files import edited

    if mode not in {"evidence", "sagemaker"}:
        raise fail(f"--mode: {mode!r} is not known; take evidence or sagemaker")
    return Rule("sagemaker" if mode == "sagemaker" else "evidence", given=edited(known))


def _of_project(known: Known, file: Path) -> tuple[Known, tuple[str, ...], Rule]:
    """The baseline with the project's thresholds, the columns that it leaves out, and how it judges."""
    from dataclasses import replace

    from configs.load import load_hosting
    from flows.monitoring import overlay
    from monitoring.drift import constraints
    from steps.baseline_files import edited

    monitor = load_hosting(file).project.monitor
    settings = monitor.data_quality if monitor else None
    if settings is None:
        raise fail(f"{file} has no section monitor.data_quality; add one, or leave --project out")
    rule = overlay.rule(settings, edited(known))
    laid = overlay.data_quality(constraints.document(known.constraints), settings)
    return replace(known, constraints=constraints.read(laid)), settings.exclude, rule


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of rows on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("reading"),
        BarColumn(),
        TextColumn("{task.fields[rows]} rows"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, transient=True) as bar:
        task = bar.add_task("", total=None, rows="0")
        yield lambda done, every: bar.update(task, completed=done, total=every, rows=f"{done:,}")


def _documents(known: Known) -> list[dict[str, Any]]:
    """The features of `constraints.json`."""
    from monitoring.drift.constraints import document

    found: list[dict[str, Any]] = document(known.constraints)["features"]
    return found


def _described(known: Known) -> list[dict[str, Any]]:
    """A row for each column: what it is like, and what it must meet."""
    rows = []
    for feature in known.constraints.features:
        column = known.profile.columns[feature.name]
        must = [f"completeness {feature.completeness:.6g}"] if feature.completeness is not None else []
        must += ["non-negative"] if feature.is_non_negative else []
        must += [f"{len(feature.domains)} values"] if feature.domains is not None else []
        rows.append(
            {
                "column": escape(feature.name),
                "type": feature.inferred_type,
                "missing": f"{column.missing:,}",
                "what is in it": escape(_contents(column)),
                "must": ", ".join(must),
            }
        )
    return rows


def _contents(column: Any) -> str:
    if column.kind == "numeric":
        known = column.numeric.moments
        if not known.n:
            return "no finite number"
        spread = f"{known.minimum:.4g} to {known.maximum:.4g}"
        return f"{spread}, mean {known.mean:.4g}, std {known.std_dev:.4g}"
    if column.categories is None:
        return "nothing" if not column.present else ""
    first = ", ".join(list(column.categories.counts)[:3])
    shown = first if len(first) <= _LONG else f"{first[: _LONG - 3]}..."
    about = "" if column.categories.exact else "about "
    return f"{about}{column.categories.distinct:,.0f} different: {shown}"


def _tell(
    data: Path, finding: Finding, notes: tuple[str, ...], files: tuple[Path, ...], *, as_json: bool
) -> None:
    every = [*notes, *finding.notes]
    if as_json:
        document = {"status": finding.status, "rows": finding.rows, **finding.violations_document()}
        emit({**document, "notes": every, "files": [str(file) for file in files]})
        return
    count = len(finding.violations)
    show(
        escape(f"{data}: {count:,} violations in {finding.rows:,} rows"),
        [{name: escape(said) for name, said in one.record().items()} for one in finding.violations],
        as_json=False,
        empty=escape(f"{data}: every constraint is met in {finding.rows:,} rows"),
    )
    for note in every:
        say(escape(f"note: {note}"))
    for file in files:
        say(escape(f"wrote {file}"))
