"""`seaway explain`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from seaway.commands.registry import Model, Version
from seaway.console import Json, clear_errors, emit, say, show


class Method(StrEnum):
    """How to explain."""

    AUTO = "auto"
    TREE = "tree"
    EXACT = "exact"
    KERNEL = "kernel"


class Aggregation(StrEnum):
    """How rows become one number."""

    MEAN_ABS = "mean_abs"
    MEAN_SQ = "mean_sq"
    MEDIAN = "median"


Data = Annotated[Path, typer.Option("--data", help="CSV, Parquet or JSON Lines with the model's inputs.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Rows to explain, a seeded sample of the file.")]
Output = Annotated[
    Path | None, typer.Option("--output", help="Folder for the files; explain-MODEL-VERSION if not given.")
]
How = Annotated[Method, typer.Option("--method", help="auto: TreeSHAP where exact, else ask the model.")]
Logit = Annotated[bool, typer.Option("--logit", help="Explain log-odds instead of probabilities.")]
Aggregate = Annotated[Aggregation, typer.Option("--agg-method", help="How rows become one number.")]
Top = Annotated[int, typer.Option("--top", min=0, help="Features with partial dependence.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the sample and of coalitions.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    model: Model,
    version: Version,
    *,
    data: Data,
    rows: Rows = 1000,
    output: Output = None,
    method: How = Method.AUTO,
    logit: Logit = False,
    aggregation: Aggregate = Aggregation.MEAN_ABS,
    top: Top = 10,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Show what a registered version relies on, over the rows of a file.

    Leaves analysis.json, explanations_shap/out.csv and baseline.csv, as SageMaker Clarify writes them.

    Example: seaway explain late-arrivals 3 --data flights.parquet --rows 2000
    """
    from flows import explaining
    from flows.wiring import connect
    from steps.attributions import Wish

    wish = Wish(rows, method.value, "log_odds" if logit else None, aggregation.value, seed=seed)
    folder = output or Path(f"explain-{model}-{version}")
    order = explaining.Order(model, version, data, folder, wish, top)
    with clear_errors(), Progress(console=Console(stderr=True), disable=as_json, transient=True) as bar:
        task = bar.add_task("explaining", total=None)
        found = explaining.explain(
            connect(), order, lambda done, every: bar.update(task, completed=done, total=every)
        )
    if as_json:
        files = {name: str(path) for name, path in found.files.items()}
        emit({**found.attributions.document(), "files": files})
    else:
        _tell(found, top)


def _tell(found: Any, top: int) -> None:
    """A table for each label, largest first."""
    told = found.attributions
    for label in told.labels:
        order = sorted(range(len(told.features)), key=lambda place: -label.shares[place])
        lines = [
            {
                "feature": told.features[place],
                told.how.aggregation: f"{label.values[place]:.6g}",
                "±": f"{1.96 * label.errors[place]:.2g}",
                "share": f"{label.shares[place]:.1%}",
            }
            for place in order[: max(top, 1)]
        ]
        show(f"{label.header}, expected value {label.expected:.6g}", lines, as_json=False)
    unit = "log-odds" if told.how.space == "log_odds" else "scores"
    say(f"{told.rows} rows, {told.method} method, in {unit}")
    for note in told.notes:
        say(f"note: {note}")
    for path in found.files.values():
        say(f"wrote {path}")
