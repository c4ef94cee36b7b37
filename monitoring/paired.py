"""Two versions that answered the same requests, compared pair by pair. Pure.

A pair is one request, known by its event id, with the answers of the champion and of the candidate. Pairing
takes away what makes two samples differ (other requests, another hour), so that every difference is the
model's; it needs about a third of the labels that a split of the traffic needs for the same certainty.

What is counted: rows that differ at all, rows whose label flips, how far scores moved, requests that only one
version could answer, time, and, where labels are known, who is right when only one of them is
(`monitoring.discordance`). Pairs come one by one and in order of time; their bodies are not kept. Captures
hold successes only: of live traffic, errors and time come from what servers note (`monitoring.outcomes`).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from monitoring.contrasts import Latency, Quality, Scores, latency, quality, scores
from monitoring.meeting import Met
from monitoring.outcomes import Errors, Noted, Outcome, Went
from monitoring.payloads import Prediction, Rows, plain_label
from monitoring.slices import Group, Slice, key, slices

SHOWN = 12
"""Examples that a report lists."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version said to one request."""

    rows: Rows = ()
    status: int = 200
    milliseconds: float | None = None
    """How long it took; None where nobody measured."""

    @property
    def failed(self) -> bool:
        """There is no prediction."""
        return not 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Pair:
    """One request and both answers; None where a version was not seen to answer it."""

    event_id: str
    champion: Answer | None
    candidate: Answer | None
    slices: tuple[Any, ...] = ()
    """Value of the sliced input in each row."""
    labels: Mapping[int, Any] = field(default_factory=dict)
    """What really happened, by row."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A label and what became of it."""

    champion: str
    candidate: str
    rows: int


@dataclass(frozen=True, slots=True)
class Example:
    """One of the rows that differ most."""

    event_id: str
    row: int
    champion: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything the pairs say."""

    pairs: int
    """Requests that both versions were asked."""
    only_champion: int
    """Requests seen on the champion's side alone."""
    only_candidate: int
    rows: int
    """Predictions compared: rows of pairs that both answered."""
    differences: int
    """Of them, those that are not the same: another label, or a score further away than the tolerance."""
    flips: int
    """Of them, those with another label."""
    flipped: tuple[Flip, ...]
    """Flips by labels, the most frequent first."""
    scores: Scores | None
    """None when no scores were compared."""
    errors: Errors
    latency: Latency | None
    noted: Noted | None
    """None where no outcome was written down; errors and latency are then of the pairs above."""
    quality: Quality | None
    """None without labels."""
    slices: tuple[Slice, ...]
    examples: tuple[Example, ...]
    tolerance: float
    labelled_classes: bool
    """Answers carry labels, so that a change of decision is a flip and not any difference."""

    @property
    def decisions_changed(self) -> int:
        """Rows decided otherwise: flips where answers have labels, else all that differ."""
        return self.flips if self.labelled_classes else self.differences

    @property
    def changed_share(self) -> float:
        """Share of rows decided otherwise, a request that only one version answers counting as one row."""
        lost = self.errors.only_champion + self.errors.only_candidate
        total = self.rows + lost
        return (self.decisions_changed + lost) / total if total else 0.0

    @property
    def identical(self) -> bool:
        """Nothing at all differs in what was answered."""
        return not (self.differences or self.errors.only_champion or self.errors.only_candidate)


def compare(
    pairs: Iterable[Pair],
    *,
    outcomes: Iterable[Met[Outcome]] = (),
    tolerance: float = 0.0,
    alpha: float = 0.05,
) -> Comparison:
    """Compare answer by answer.

    Rows of one request are matched by place; a row that only one answer has counts as different.

    Args:
        pairs: in order of time.
        outcomes: how requests went, where that is known better than from the pairs.
        tolerance: the largest score difference that counts as none; 0 finds every changed bit.
        alpha: risk of calling the candidate worse, or better, when it is not; for each of the two.
    """
    tally = _Tally(tolerance)
    for pair in pairs:
        tally.add(pair)
    for one in outcomes:
        tally.note(one)
    return tally.done(alpha)


def difference(champion: Prediction, candidate: Prediction) -> float | None:
    """How far the scores moved: candidate minus champion, or the total variation distance of several.

    None when they cannot be subtracted. 0 when they are the same, also when both are NaN or infinite.
    """
    ours, theirs = champion.scores, candidate.scores
    if not ours or len(ours) != len(theirs):
        return None
    steps = [_step(a, b) for a, b in zip(ours, theirs, strict=True)]
    moved = steps[0] if len(steps) == 1 else sum(abs(step) for step in steps) / 2
    return moved if math.isfinite(moved) else None


def _step(a: float, b: float) -> float:
    same = a == b or (math.isnan(a) and math.isnan(b))
    return 0.0 if same else b - a


def differ(champion: Prediction, candidate: Prediction, tolerance: float) -> bool:
    """Whether two predictions are not the same."""
    if champion.label != candidate.label or champion.content != candidate.content:
        return True
    if not champion.scores and not candidate.scores:
        return False
    moved = difference(champion, candidate)
    return moved is None or abs(moved) > tolerance


class _Tally:
    """Counts while pairs come by."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._seen: Counter[str] = Counter()
        self._went, self._noted = Went(), Went()
        self._flips: Counter[tuple[str, str]] = Counter()
        self._moved: list[float] = []
        self._several = False
        self._classes = False
        self._outcomes: list[tuple[float, float]] = []
        self._groups: dict[Any, Group] = {}
        self._examples: list[tuple[tuple[bool, float], int, Example]] = []

    def add(self, pair: Pair) -> None:
        """One more request."""
        if pair.champion is None or pair.candidate is None:
            if pair.champion or pair.candidate:
                self._seen["only_champion" if pair.champion else "only_candidate"] += 1
            return
        self._seen["pairs"] += 1
        self._went.add(pair.champion, pair.candidate)
        if pair.champion.failed or pair.candidate.failed:
            return
        ours, theirs = pair.champion.rows, pair.candidate.rows
        for row in range(max(len(ours), len(theirs))):
            self._row(
                pair, row, ours[row] if row < len(ours) else None, theirs[row] if row < len(theirs) else None
            )

    def note(self, met: Met[Outcome]) -> None:
        """How one more request went."""
        self._noted.add(met.champion, met.candidate)

    def _row(self, pair: Pair, row: int, ours: Prediction | None, theirs: Prediction | None) -> None:
        group = self._group(pair, row)
        group.rows += 1
        moved = difference(ours, theirs) if ours and theirs else None
        differs = not (ours and theirs) or differ(ours, theirs, self._tolerance)
        flips = bool(ours and theirs and ours.label != theirs.label)
        group.differences += differs
        group.flips += flips
        if ours and theirs:
            self._classes |= ours.label is not None or theirs.label is not None
            self._several |= len(ours.scores) > 1
        if flips and ours and theirs:
            self._flips[ours.label or "", theirs.label or ""] += 1
        if moved is not None:
            self._moved.append(moved)
            group.moved += moved
        if differs:
            self._remember(pair.event_id, row, ours, theirs, (flips, abs(moved or 0.0)))
        if row in pair.labels and ours and theirs:
            self._judge(group, pair.labels[row], ours, theirs)

    def _group(self, pair: Pair, row: int) -> Group:
        value = pair.slices[row] if row < len(pair.slices) else None
        return self._groups.setdefault(key(value) if pair.slices else "", Group())

    def _remember(
        self,
        event_id: str,
        row: int,
        ours: Prediction | None,
        theirs: Prediction | None,
        weight: tuple[bool, float],
    ) -> None:
        self._seen["differ"] += 1
        made = (weight, -self._seen["differ"], Example(event_id, row, _shown(ours), _shown(theirs)))
        if len(self._examples) < SHOWN:
            heapq.heappush(self._examples, made)
        elif made[:2] > self._examples[0][:2]:
            heapq.heapreplace(self._examples, made)

    def _judge(self, group: Group, label: Any, ours: Prediction, theirs: Prediction) -> None:
        losses = _loss(ours, label), _loss(theirs, label)
        if losses[0] is None or losses[1] is None:
            return
        self._outcomes.append((losses[0], losses[1]))
        if losses[0] != losses[1]:
            group.better[losses[1] < losses[0]] += 1

    def done(self, alpha: float) -> Comparison:
        """The whole."""
        groups = self._groups.values()
        noted = self._noted.noted()
        went = self._noted if noted and noted.pairs else self._went
        return Comparison(
            pairs=self._seen["pairs"],
            only_champion=self._seen["only_champion"],
            only_candidate=self._seen["only_candidate"],
            rows=sum(group.rows for group in groups),
            differences=sum(group.differences for group in groups),
            flips=sum(group.flips for group in groups),
            flipped=tuple(Flip(*labels, rows) for labels, rows in self._flips.most_common()),
            scores=scores(self._moved, several=self._several),
            errors=went.errors(),
            latency=latency(*went.times),
            noted=noted,
            quality=quality(self._outcomes, "mistakes" if self._classes else "absolute error", alpha),
            slices=slices(self._groups),
            examples=tuple(one for _, _, one in sorted(self._examples, key=lambda one: one[:2])[::-1]),
            tolerance=self._tolerance,
            labelled_classes=self._classes,
        )


def _loss(prediction: Prediction, label: Any) -> float | None:
    """0 or 1 where the answer has a label, else the distance of its value; None when there is neither."""
    if prediction.label is not None:
        return float(prediction.label != plain_label(label))
    if len(prediction.scores) != 1:
        return None
    try:
        distance = abs(prediction.scores[0] - float(label))
    except (TypeError, ValueError):
        return None
    return distance if math.isfinite(distance) else None


def _shown(prediction: Prediction | None) -> str:
    if prediction is None:
        return "no row"
    numbers = ", ".join(f"{score:.6g}" for score in prediction.scores[:6])
    return " ".join(part for part in (prediction.label or "", numbers, prediction.content) if part)


Verdict = Literal["passed", "failed"]


def judge(comparison: Comparison, *, most_changed: float | None = None) -> tuple[Verdict, tuple[str, ...]]:
    """Whether the comparison speaks for letting the candidate through, and why not.

    Args:
        comparison: of the pairs.
        most_changed: largest share of rows that may be decided otherwise; None sets no limit on them, but a
            request that only the champion answers is then one too many.
    """
    errors, reasons = comparison.errors, []
    if not comparison.pairs:
        reasons.append("nothing was compared: no captured request was seen by both versions")
    if most_changed is None and errors.only_candidate:
        reasons.append(f"the candidate fails on {errors.only_candidate:,} requests that the champion answers")
    if most_changed is not None and comparison.changed_share > most_changed:
        reasons.append(
            f"{comparison.changed_share:.2%} of the rows are decided otherwise, more than {most_changed:.2%}"
        )
    if comparison.quality and comparison.quality.verdict == "worse":
        reasons.append("by the labels the candidate is worse than the champion")
    return ("failed" if reasons else "passed"), tuple(reasons)
