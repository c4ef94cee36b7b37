"""`seaway bias`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seaway.console import Json, clear_errors, emit, fail, say, show

if TYPE_CHECKING:
    from monitoring.bias.report import Measure
    from monitoring.bias.settings import BiasConfig
    from monitoring.findings import Finding

Texts = list[str] | None
_PROJECT = {".yaml", ".yml"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bias)


def bias(
    *,
    subject: Annotated[
        Path, typer.Argument(help="Labelled rows (.csv, .parquet, .jsonl) or a project file.")
    ],
    label: Annotated[str, typer.Option("--label", help="Column of what really happened.")] = "",
    favourable: Annotated[
        Texts,
        typer.Option("--favourable", help="A good outcome, or a number above which outcomes are."),
    ] = None,
    facet: Annotated[
        Texts, typer.Option("--facet", help="A group: sex (each value), sex=F, sex=F,X or age>40.")
    ] = None,
    predicted: Annotated[str, typer.Option("--predicted", help="Column of what the model said.")] = "",
    group: Annotated[str, typer.Option("--group", help="Column for conditional disparity.")] = "",
    together: Annotated[
        Texts, typer.Option("--together", help="Facets to look at in combination, for example sex,age.")
    ] = None,
    metric: Annotated[Texts, typer.Option("--metric", help="Show only this one, for example DPL.")] = None,
    feature: Annotated[
        Texts, typer.Option("--feature", help="Column by which the flip test finds neighbours.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An analysis.json to compare with.")
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", help="exact, or clarify: the figures of SageMaker Clarify.")
    ] = "exact",
    rule: Annotated[
        str,
        typer.Option(
            "--rule", help="Bias has grown when it is farther from fair: farther, or beyond chance: evidence."
        ),
    ] = "auto",
    alpha: Annotated[
        float, typer.Option("--alpha", help="With evidence: share of false alarms.", min=1e-6, max=0.5)
    ] = 0.05,
    resamples: Annotated[
        int, typer.Option("--resamples", help="Behind each interval; 0 for none.", min=0, max=20_000)
    ] = 1000,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to leave analysis.json in.")] = None,
    fail_on_violation: Annotated[
        bool, typer.Option("--fail-on-violation", help="Exit 1 when bias has grown since the baseline.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare how groups are treated, in labels and predictions: all metrics of SageMaker Clarify.

    With a project file: the hold-out of its build, by the section `evaluate.bias`, all or the metrics that
    you name; steps that did not change do not run again.

    Example: seaway bias loans.csv --label paid --favourable yes --facet sex=F --facet "age>40"
    """
    from steps import bias as reports

    with clear_errors():
        if subject.suffix.lower() in _PROJECT:
            given = (label, favourable, facet, predicted, group, together, feature, baseline)
            if any(given) or (mode, rule, alpha, resamples) != ("exact", "auto", 0.05, 1000):
                raise fail(
                    "a project's section evaluate.bias says what to compare; give no options but "
                    "--metric, --out and --json"
                )
            _known(metric)
            if fail_on_violation:
                raise fail("a project's gates say what fails; run `seaway build` for them")
            analysis, violations, notes = _of_project(subject)
        else:
            if mode not in {"exact", "clarify"}:
                raise fail(f"--mode: {mode!r} is not known; take exact or clarify")
            if rule not in {"auto", "farther", "evidence"}:
                raise fail(f"--rule: {rule!r} is not known; take auto, farther or evidence")
            config = _config(
                label,
                favourable,
                facet,
                predicted=predicted,
                group=group,
                intersections=tuple(tuple(one.split(",")) for one in together or ()),
                methods=tuple(metric or ()),
                features=tuple(feature) if feature else None,
                rule=rule,
                alpha=alpha,
                resamples=resamples,
            )
            found = reports.of_file(subject, config, baseline, mode=mode)
            analysis, violations, notes = _parts(found)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            reports.write(analysis, out)
    _tell(analysis, violations, notes, only=metric, as_json=as_json)
    if violations and fail_on_violation:
        raise typer.Exit(1)


Said = tuple[dict[str, Any], list[dict[str, str]], list[str]]


def _config(label: str, favourable: Texts, facets: Texts, **more: Any) -> BiasConfig:
    from monitoring.bias.settings import BiasConfig, BiasRefused, Facet

    if not label or not favourable or not facets:
        raise fail(
            "a data file needs --label, --favourable and --facet; "
            "for example --label paid --favourable yes --facet sex"
        )
    _known(more["methods"])
    try:
        groups = tuple(Facet.parse(one) for one in facets)
    except BiasRefused as error:
        raise fail(f"--facet: {error}") from error
    return BiasConfig(tuple(favourable), groups, label, **more)


def _known(metrics: Iterable[str] | None) -> None:
    from monitoring.bias.catalogue import BY_NAME

    if unknown := sorted(set(metrics or ()) - set(BY_NAME)):
        raise fail(f"--metric: there is no {unknown[0]}; known are {', '.join(BY_NAME)}")


def _parts(found: Finding) -> Said:
    analysis = dict(found.documents.get("analysis.json", {}))
    if not analysis:
        raise fail(" ".join(found.notes))
    return analysis, [one.record() for one in found.violations], list(found.notes)


def _of_project(file: Path) -> Said:
    """The report of a build's hold-out; the build's steps run as far as they must."""
    from configs.settings import Settings
    from flows.making import Making

    making = Making.of(file, Settings.load().home / "runs")
    if making.project.evaluate.bias is None:
        raise fail(f"{file} has no section evaluate.bias; name the favourable outcomes and the facets there")
    processed = making.process()
    found = making.evaluate(processed, making.train(processed), None).output["bias"]
    return found["analysis"], [], found["notes"]


def _tell(
    analysis: dict[str, Any],
    violations: list[dict[str, str]],
    notes: list[str],
    *,
    only: Texts = None,
    as_json: bool,
) -> None:
    from monitoring.bias.report import read

    if as_json:
        emit({**analysis, "violations": violations, "notes": notes})
        return
    found = [one for one in (read(analysis) if analysis else ()) if not only or one.metric in only]
    groups = list(dict.fromkeys((one.facet, one.facet_value) for one in found))
    found.sort(key=lambda one: groups.index((one.facet, one.facet_value)))
    rows = [_row(one) for one in found]
    show("bias", rows, as_json=False, empty="nothing could be measured")
    if violations:
        show("more bias than in the baseline", violations, as_json=False)
    for note in notes:
        say(note)


def _row(one: Measure) -> dict[str, str]:
    from monitoring.bias.catalogue import BY_NAME

    known = one.low is not None and one.high is not None
    return {
        "facet": one.facet,
        "group": one.facet_value,
        "metric": one.metric,
        "value": one.error if one.value is None else f"{one.value:.4f}",
        "95 % interval": f"{one.low:.4f} to {one.high:.4f}" if known else "",
        "what": BY_NAME[one.metric].description.removesuffix(f" ({one.metric})"),
    }
