"""Figures of executions in Amazon CloudWatch, under the names that Model Monitor gives them.

CloudWatch cannot replace a figure, and its sums count one that is sent twice twice. So what it has taken of a
window is noted beside the window's report, and sent no more: a figure that late labels change keeps, there,
the value that it was sent with.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.monitor import CloudWatch, Kind
from flows.monitoring.executions import Execution
from flows.monitoring.exporting import cloudwatch_lines
from monitoring.findings import Figure

if TYPE_CHECKING:
    from flows.monitoring.history import History

log = logging.getLogger(__name__)

PARTS: dict[Kind, str] = {
    "DataQuality": "data-metrics",
    "ModelQuality": "model-metrics",
    "ModelBias": "bias-metrics",
    "ModelExplainability": "explainability-metrics",
}
"""Last part of the namespace of each kind."""
SENT = "cloudwatch-sent.txt"
"""Beside a report: a digest of each figure that CloudWatch has taken of its window, one a line."""
AT_ONCE, BYTES = 1000, 900_000
"""Figures, and bytes, of one request; CloudWatch takes 1,000 and 1 MB."""
LARGEST = 2.0**360
"""What CloudWatch takes at most, in either direction; smaller than 1 / LARGEST is 0 to it."""
OLDEST, NEWEST = timedelta(days=14), timedelta(hours=2)
"""CloudWatch takes no figure that is older, or lies further in the future."""
NAME, VALUE = 255, 1024
"""Longest name, and longest value of a dimension."""

TROUBLE = "CloudWatch: "
"""How the note of an execution begins whose figures were not all sent."""

Datum = dict[str, Any]
"""A `MetricDatum` of boto3."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Figures that go in one request, with their digests."""

    data: tuple[Datum, ...]
    digests: tuple[str, ...]


def namespace(settings: CloudWatch, kind: Kind) -> str:
    """Where figures of a kind go, for example `aws/sagemaker/Endpoints/data-metrics`."""
    return f"{settings.namespace}/{PARTS[kind]}"


def data(execution: Execution, figures: Iterable[Figure]) -> list[Datum]:
    """Figures as CloudWatch takes them; those that could not be computed are left out."""
    named = [one for one in figures if len(one.name) <= NAME]
    lines = (json.loads(line) for line in cloudwatch_lines(execution, named).splitlines())
    return [_datum(line, execution.window.end) for line in lines]


def _datum(line: dict[str, Any], at: datetime) -> Datum:
    where = [
        {"Name": _text(one["Name"], NAME), "Value": _text(one["Value"], VALUE)} for one in line["Dimensions"]
    ]
    made: Datum = {"MetricName": _text(line["MetricName"], NAME), "Dimensions": where, "Timestamp": at}
    if "Value" in line:
        return {**made, "Value": _number(line["Value"])}
    return {**made, "StatisticValues": {name: _number(one) for name, one in line["StatisticValues"].items()}}


def _text(text: str, longest: int) -> str:
    """In ASCII and not empty, as CloudWatch wants dimensions."""
    return text.encode("ascii", "backslashreplace").decode()[:longest].strip() or "(empty)"


def _number(value: float) -> float:
    if abs(value) < 1 / LARGEST:
        return 0.0
    return math.copysign(min(abs(value), LARGEST), value)


def digest(datum: Datum) -> str:
    """Of what a figure is, whatever its value."""
    named = [datum["MetricName"], datum["Dimensions"], datum["Timestamp"].isoformat()]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]


def parcels(found: Sequence[Datum], sent: frozenset[str]) -> Iterator[Parcel]:
    """Figures that were not sent before, as few requests as CloudWatch's limits allow."""
    waiting: list[Datum] = []
    digests: list[str] = []
    known, size = set(sent), 0
    for datum in found:
        if (name := digest(datum)) in known:
            continue
        known.add(name)
        bytes_of = len(json.dumps(datum, default=str))  # CBOR, which boto3 sends, is shorter
        if waiting and (len(waiting) == AT_ONCE or size + bytes_of > BYTES):
            yield Parcel(tuple(waiting), tuple(digests))
            waiting, digests, size = [], [], 0
        waiting.append(datum)
        digests.append(name)
        size += bytes_of
    if waiting:
        yield Parcel(tuple(waiting), tuple(digests))


def refusal(execution: Execution, now: datetime) -> str:
    """Why CloudWatch would not take figures of this window; empty when it would."""
    end = execution.window.end
    if now - end > OLDEST:
        return "the window ended more than two weeks ago, and CloudWatch takes nothing as old"
    return "the window ends more than two hours from now" if end - now > NEWEST else ""


def publish(
    settings: CloudWatch, execution: Execution, figures: Iterable[Figure], out: Path, now: datetime
) -> tuple[str, ...]:
    """Send what was not sent before of an execution; never raises.

    Args:
        settings: where to.
        execution: whose figures.
        figures: what was found.
        out: folder of the report, where it is noted what was sent.
        now: the present.

    Returns what could not be sent and why, as notes for people; nothing when all went well.
    """
    found = data(execution, figures)
    if found and (why := refusal(execution, now)):
        return (f"{TROUBLE}nothing was sent; {why}",)
    sent = 0
    waiting = list(parcels(found, _sent(out)))
    try:
        if waiting:
            with closing(_client(settings)) as client:
                for parcel in waiting:
                    client.put_metric_data(
                        Namespace=namespace(settings, execution.kind), MetricData=list(parcel.data)
                    )
                    _note(out, parcel)
                    sent += len(parcel.data)
    except ModuleNotFoundError:
        why = "boto3 is not installed; run: pip install 'seaway[s3]'"
    except Exception as error:  # a verdict never fails because it could not be passed on
        log.warning("CloudWatch did not take figures of %s", execution.key, exc_info=True)
        why = f"{type(error).__name__}: {error}"
    else:
        return ()
    total = sum(len(parcel.data) for parcel in waiting)
    return (f"{TROUBLE}{sent} of {total} figures were sent; {why}"[:1024],)


def resend(settings: CloudWatch, history: History, endpoint: str, now: datetime) -> tuple[str, ...]:
    """Send what CloudWatch did not take when an execution ended and takes still; never raises.

    The oldest come first, and the first that is refused ends it: the next run begins there again.

    Args:
        settings: where to.
        history: the executions and their figures.
        endpoint: whose.
        now: the present.

    Returns why it ended early, as `publish` does.
    """
    for one in reversed(history.executions(endpoint, since=now - OLDEST, last=None)):
        lacking = one.report and any(note.startswith(TROUBLE) for note in one.notes)
        if not lacking or refusal(one, now):
            continue
        figures = [point.figure for point in history.measured(one)]
        if troubles := publish(settings, one, figures, Path(one.report), now):
            return troubles
    return ()


def _client(settings: CloudWatch) -> Any:
    """Credentials are found as boto3 finds them: variables, profiles, roles of the machine."""
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 3}
    return boto3.client(
        "cloudwatch",
        region_name=settings.region,
        endpoint_url=settings.endpoint_url or None,
        config=Config(connect_timeout=5, read_timeout=20, retries=retries),
    )


def _sent(out: Path) -> frozenset[str]:
    file = out / SENT
    return frozenset(file.read_text().split()) if file.is_file() else frozenset()


def _note(out: Path, parcel: Parcel) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / SENT).open("a") as file:
        file.write("\n".join([*parcel.digests, ""]))
