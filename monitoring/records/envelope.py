"""Lines of capture files to their parts: who asked when, and what went in and came out, still encoded.

Lines as our own recorder writes them are cut at `","`, which inside a JSON text cannot occur, since every
quote there has a backslash before it. All other lines are parsed one by one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from monitoring.records.layout import Unreadable

_HEAD = b'{"captureData":{"endpointInput":{"observedContentType":"'
_INPUT, _OUTPUT = b'mode":"INPUT', b'mode":"OUTPUT'
_DATA, _ENCODING = b'data":"', b'encoding":"'
_ANSWER = b'"},"endpointOutput":{"observedContentType":"'
_EVENT = b'"}},"eventMetadata":{"eventId":"'
_INFERENCE, _TIME, _END = b'inferenceId":"', b'inferenceTime":"', b'"},"eventVersion":"0"}'
_PLAIN, _NAMED = 8, 9
"""Parts of a line without and with an inference id."""


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of many records, place by place; text where the encoding is text, else bytes."""

    types: list[str] = field(default_factory=list)
    """Observed content types."""
    encodings: list[str] = field(default_factory=list)
    """CSV, JSON or BASE64; empty where this direction was not captured."""
    data: list[str | bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Records:
    """Captured records as columns."""

    lines: list[int] = field(default_factory=list)
    """Number of each record's line in the block, from 0."""
    event_ids: list[str] = field(default_factory=list)
    inference_ids: list[str | None] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    asked: Side = field(default_factory=Side)
    answered: Side = field(default_factory=Side)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that could not be read, or not wholly."""

    event_id: str
    """Empty when not even that can be read."""
    part: str
    """`record`, `request` or `answer`."""
    reason: str


def records(lines: Sequence[bytes]) -> tuple[Records, list[Refusal]]:
    """The records of complete lines, in their order, and what could not be read of them."""
    cut = [line.split(b'","') for line in lines]
    if cut and (found := _cut(cut)) is not None:
        return found, []
    return _parsed(lines)


def _cut(rows: list[list[bytes]]) -> Records | None:
    """Records of lines that were cut; None when one is not as our recorder writes it."""
    own: list[str | None] = [None] * len(rows)
    if {len(row) for row in rows} != {_PLAIN}:
        if {len(row) for row in rows} - {_PLAIN, _NAMED}:
            return None
        named = [n for n, row in enumerate(rows) if len(row) == _NAMED]
        told = [rows[n].pop(7) for n in named]
    else:
        named, told = [], []
    heads, inputs, asked, middle, outputs, answered, events, times = zip(*rows, strict=True)
    try:
        for place, text in zip(named, _texts(_cleared(told, _INFERENCE)), strict=True):
            own[place] = text
        if set(inputs) != {_INPUT} or set(outputs) != {_OUTPUT} or not all(t.endswith(_END) for t in times):
            return None
        between = _divided(middle, _ANSWER)
        after = [event.partition(_EVENT) for event in events]
        if not all(sign for _, sign, _ in after):
            return None
        sides = (
            Side(_each(heads, _HEAD), [one for one, _ in between], list(_texts(_cleared(asked, _DATA)))),
            Side(
                [one for _, one in between],
                _each([one for one, _, _ in after], _ENCODING),
                list(_texts(_cleared(answered, _DATA))),
            ),
        )
        ids = _texts([one for _, _, one in after])
        when = _texts([text[len(_TIME) : -len(_END)] for text in _starting(times, _TIME)])
        for side in sides:
            _unpack(side)
    except (ValueError, Unreadable):
        return None
    return Records(list(range(len(rows))), ids, own, when, *sides)


def _starting(texts: Sequence[bytes], beginning: bytes) -> Sequence[bytes]:
    if not all(text.startswith(beginning) for text in texts):
        raise ValueError
    return texts


def _cleared(texts: Sequence[bytes], beginning: bytes) -> list[bytes]:
    """Without what all of them must begin with."""
    size = len(beginning)
    return [text[size:] for text in _starting(texts, beginning)]


def _each(texts: Sequence[bytes], beginning: bytes) -> list[str]:
    """As `_cleared`, for texts of which there are few different ones."""
    known = {text: _texts(_cleared([text], beginning))[0] for text in set(texts)}
    return [known[text] for text in texts]


def _divided(texts: Sequence[bytes], sign: bytes) -> list[tuple[str, str]]:
    """The encoding of the request and the type of the answer, of which there are few different ones."""
    known = {}
    for text in set(texts):
        encoding, found, kind = text.partition(sign)
        if not found:
            raise ValueError
        known[text] = (_texts(_cleared([encoding], _ENCODING))[0], _texts([kind])[0])
    return [known[text] for text in texts]


def _texts(escaped: list[bytes]) -> list[str]:
    """The texts that were written between quotes."""
    if not escaped:
        return []
    found: list[str] = orjson.loads(b'["' + b'","'.join(escaped) + b'"]')
    if len(found) != len(escaped):
        raise ValueError
    return found


def _unpack(side: Side) -> None:
    """BASE64 to bytes."""
    if not set(side.encodings) - {"CSV", "JSON"}:
        return
    for place, encoding in enumerate(side.encodings):
        if encoding == "BASE64":
            side.data[place] = _bytes(str(side.data[place]))
        elif encoding not in {"CSV", "JSON"}:
            raise Unreadable(f"unknown encoding {encoding[:20]}")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("data are not BASE64") from None


# ---- line by line -----------------------------------------------------------------------------------------


def _parsed(lines: Sequence[bytes]) -> tuple[Records, list[Refusal]]:
    found, refused = Records(), []
    for number, line in enumerate(lines):
        event_id = ""
        try:
            record = _loaded(line)
            about = record.get("eventMetadata")
            if isinstance(about, dict) and isinstance(about.get("eventId"), str):
                event_id = about["eventId"]
            _add(found, number, record)
        except Unreadable as problem:
            refused.append(Refusal(event_id, "record", str(problem)))
    return found, refused


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise Unreadable("line is not JSON") from None
    if not isinstance(record, dict):
        raise Unreadable("line is no object")
    return record


def _add(found: Records, number: int, record: dict[str, Any]) -> None:
    captured, about = record.get("captureData"), record.get("eventMetadata")
    if not isinstance(captured, dict) or not isinstance(about, dict):
        raise Unreadable("line has no captureData or eventMetadata")
    event_id, at, own = about.get("eventId"), about.get("inferenceTime"), about.get("inferenceId")
    if not isinstance(event_id, str) or not event_id:
        raise Unreadable("record has no eventId")
    if not isinstance(at, str):
        raise Unreadable("record has no inferenceTime")
    answer = captured.get("endpointOutput") or captured.get("batchTransformOutput")
    asked, answered = _side(captured.get("endpointInput")), _side(answer)
    found.lines.append(number)
    found.event_ids.append(event_id)
    found.inference_ids.append(own if isinstance(own, str) and own else None)
    found.times.append(at)
    for side, (kind, encoding, data) in ((found.asked, asked), (found.answered, answered)):
        side.types.append(kind)
        side.encodings.append(encoding)
        side.data.append(data)


def _side(captured: Any) -> tuple[str, str, str | bytes]:
    if captured is None:
        return "", "", ""
    if not isinstance(captured, dict) or not isinstance(captured.get("data"), str):
        raise Unreadable("captured direction has no data")
    kind, encoding, data = captured.get("observedContentType"), captured.get("encoding"), captured["data"]
    if encoding not in {"CSV", "JSON", "BASE64"}:
        raise Unreadable(f"unknown encoding {str(encoding)[:20]}")
    return str(kind or ""), encoding, _bytes(data) if encoding == "BASE64" else data
