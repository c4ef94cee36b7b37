"""What a project's `preprocess_handler` is given, and what it may give back.

It takes a record and returns one flat object, a list of them, or an empty list to leave the record out; in
the shape that SageMaker Model Monitor has for its record preprocessing scripts.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitoring.records.documents import Row, flat
from monitoring.records.layout import Handler, Unreadable

log = logging.getLogger("seaway.monitoring")


@dataclass(frozen=True, slots=True)
class EventMetadata:
    """`event_metadata` of a record."""

    event_id: str
    event_time: str
    custom_attribute: Sequence[str]


@dataclass(frozen=True, slots=True)
class Captured:
    """`endpoint_input`, `endpoint_output`, `batch_transform_output` or `ground_truth` of a record."""

    encoding: str
    data: str
    observedContentType: str  # noqa: N815 - SageMaker's name
    mode: str


@dataclass(frozen=True, slots=True)
class InferenceRecord:
    """One captured record, as a script sees it."""

    event_metadata: EventMetadata
    endpoint_input: Captured | None
    endpoint_output: Captured | None
    batch_transform_output: Captured | None
    ground_truth: Captured | None
    event_version: str
    event_dict: Mapping[str, Any]
    """The record as it stands in the file."""


def inference_record(event: Mapping[str, Any]) -> InferenceRecord:
    """The record of one line of a capture file."""
    about, captured = event["eventMetadata"], event["captureData"]
    attributes = about.get("customAttributes") or ()
    return InferenceRecord(
        EventMetadata(
            about["eventId"],
            about["inferenceTime"],
            (attributes,) if isinstance(attributes, str) else tuple(attributes),
        ),
        _captured(captured.get("endpointInput")),
        _captured(captured.get("endpointOutput")),
        _captured(captured.get("batchTransformOutput")),
        _captured(event.get("groundTruthData")),
        str(event.get("eventVersion", "")),
        event,
    )


def _captured(side: Mapping[str, Any] | None) -> Captured | None:
    if side is None:
        return None
    texts = (str(side.get(name) or "") for name in ("encoding", "data", "observedContentType", "mode"))
    return Captured(*texts)


def caller(handler: Handler) -> Callable[[Mapping[str, Any]], list[Row]]:
    """The handler with its results checked; it gets a logger when it takes one.

    The function that is returned raises `Unreadable` when the handler raises, or returns something else.
    """
    takes = len(inspect.signature(handler).parameters) > 1

    def rows(event: Mapping[str, Any]) -> list[Row]:
        record = inference_record(event)
        try:
            found = handler(record, log) if takes else handler(record)
        except Exception as error:
            raise Unreadable(
                f"preprocess_handler raised {type(error).__name__}: {str(error)[:100]}"
            ) from error
        listed = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in listed):
            raise Unreadable("preprocess_handler returned neither an object nor a list of objects")
        return [_flat(one) for one in listed]

    return rows


def _flat(row: Mapping[Any, Any]) -> Row:
    """Its own names; `@predicted_label` and `@score` pass as they are."""
    ours = {name: row[name] for name in ("@predicted_label", "@score") if name in row}
    return {**dict(flat({name: one for name, one in row.items() if name not in ours})), **ours}
