"""From captured and replayed answers to pairs, and from pairs to a report. Without Prefect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from monitoring.meeting import Met, meet
from monitoring.outcomes import Outcome
from monitoring.paired import Answer, Comparison, Pair, judge
from monitoring.payloads import column, predictions
from serving.capture import Noted
from steps.recorded import Recorded
from steps.replay import Replayed, Reply


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of requests besides their answers."""

    slice_by: str = ""
    """Input whose values part the rows; empty for none."""
    order: tuple[str, ...] = ()
    """Names of the model's inputs, for rows that come without names."""
    labels: Mapping[str, Mapping[int, Any]] | None = None
    """Label by event id or inference id, then by row."""

    def pair(self, request: Recorded, champion: Answer | None, candidate: Answer | None) -> Pair:
        """Both answers to a request, with the value of the sliced input and the label of each row."""
        found: tuple[Any, ...] = ()
        if self.slice_by:
            body = request.body or b""
            found = column(request.content_type, body, self.slice_by, self.order) or (None,)
        known = self.labels or {}
        labels = known.get(request.event_id) or known.get(request.inference_id) or {}
        return Pair(request.event_id, champion, candidate, found, labels)


@dataclass(frozen=True, slots=True)
class Heading:
    """What was compared with what."""

    kind: str
    """`replay` or `shadow`."""
    endpoint: str
    champion: str
    """For example `late-arrivals version 3`."""
    candidate: str
    since: str
    until: str
    slice_by: str = ""
    digests: tuple[str, str] = ("", "")
    """sha256 of both packages, where they are known."""


def replayed_pairs(answers: Iterable[Replayed], context: Context) -> Iterator[Pair]:
    """Pairs of a replay, in its order."""
    for one in answers:
        yield context.pair(one.request, _answer(one.champion), _answer(one.candidate))


def shadow_pairs(
    champion: Iterable[Recorded], candidate: Iterable[Recorded], context: Context
) -> Iterator[Pair]:
    """Answers of two variants to the same events, by the time of the first; what only one has comes too.

    Args:
        champion: captures of the variant that serves, in order of time.
        candidate: captures of the shadow, in order of time.
        context: slices and labels.
    """
    ours, theirs = ((one for one in side if one.answer_body is not None) for side in (champion, candidate))
    for met in meet(ours, theirs, lambda one: datetime.fromisoformat(one.at).timestamp()):
        request = met.champion or met.candidate
        if request is not None:
            yield context.pair(request, _recorded(met.champion), _recorded(met.candidate))


def met_outcomes(champion: Iterable[Noted], candidate: Iterable[Noted]) -> Iterator[Met[Outcome]]:
    """How the same requests went at two variants.

    Args:
        champion: what the servers of the variant that serves have written down, in order of time.
        candidate: the same of the shadow.
    """
    return meet(map(_outcome, champion), map(_outcome, candidate), lambda one: one.at)


def document(heading: Heading, found: Comparison, *, most_changed: float | None = None) -> dict[str, Any]:
    """The report as plain data: heading, verdict with reasons, and every figure."""
    verdict, reasons = judge(found, most_changed=most_changed)
    derived = {
        "decisions_changed": found.decisions_changed,
        "changed_share": found.changed_share,
        "identical": found.identical,
    }
    return {
        **asdict(heading),
        "verdict": verdict,
        "reasons": list(reasons),
        "most_changed": most_changed,
        "comparison": {**asdict(found), **derived},
    }


def written(report: Mapping[str, Any]) -> bytes:
    """The report as the JSON that is kept and hashed."""
    return (json.dumps(report, indent=2, sort_keys=True) + "\n").encode()


def sentence(report: Mapping[str, Any]) -> str:
    """The report in one sentence."""
    found = report["comparison"]
    if not found["pairs"]:
        said = "nothing was compared: no captured request was seen by both versions"
        lost = found["errors"]["only_candidate"]
        return f"{said}; {lost:,} requests fail on the candidate alone" if lost else said
    if found["identical"]:
        return f"0 differences in {found['rows']:,} predictions on {found['pairs']:,} requests"
    changed = "labels flip" if found["labelled_classes"] else "predictions differ"
    parts = [
        f"{found['decisions_changed']:,} of {found['rows']:,} {changed} ({found['changed_share']:.2%})",
    ]
    if lost := found["errors"]["only_candidate"]:
        parts.append(f"{lost:,} requests fail on the candidate alone")
    if quality := found["quality"]:
        parts.append(
            f"by {quality['labelled']:,} labels the candidate is {quality['verdict']} "
            f"({quality['candidate_better']:,} better, {quality['champion_better']:,} worse)"
        )
    return "; ".join(parts)


def figures(report: Mapping[str, Any]) -> dict[str, float]:
    """What rules of an approval policy may look at."""
    found = report["comparison"]
    known = {
        "pairs": found["pairs"],
        "rows": found["rows"],
        "differences": found["differences"],
        "flips": found["flips"],
        "changed_share": found["changed_share"],
        "new_errors": found["errors"]["only_candidate"],
    }
    if found["latency"]:
        known["latency_p99"] = dict(found["latency"]["candidate"])[0.99]
    if found["quality"]:
        known["labelled"] = found["quality"]["labelled"]
        known["quality_difference"] = found["quality"]["champion"] - found["quality"]["candidate"]
    return {name: float(value) for name, value in known.items()}


def _outcome(noted: Noted) -> Outcome:
    took = noted.outcome.microseconds
    milliseconds = None if took is None else took / 1000
    return Outcome(noted.event_id, noted.at, noted.outcome.status, milliseconds)


def _answer(reply: Reply) -> Answer:
    failed = not 200 <= reply.status < 300
    rows = () if failed else predictions(reply.content_type, reply.body)
    return Answer(rows, reply.status, reply.milliseconds)


def _recorded(one: Recorded | None) -> Answer | None:
    if one is None:
        return None
    return Answer(predictions(one.answer_content_type, one.answer_body or b""))
