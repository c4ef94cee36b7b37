"""Lines of capture files to their parts: who asked when, and what went in and came out, still encoded.

Lines as our own recorder writes them are cut where bodies and ids begin and end; what is looked for there has
quotes in it, and cannot occur inside a JSON text, where every quote has a backslash before it. Lines that
differ in anything else are parsed one by one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import orjson

from monitoring.records.layout import Unreadable

_OURS = re.compile(
    rb'(\{"captureData":\{"endpointInput":\{"observedContentType":"([^"\\]*)","mode":"INPUT","data":")'
    rb'(?:[^"\\]|\\.)*("\,"encoding":"([A-Z0-9]+)"\},"endpointOutput":'
    rb'\{"observedContentType":"([^"\\]*)","mode":"OUTPUT","data":")'
    rb'(?:[^"\\]|\\.)*(","encoding":"([A-Z0-9]+)"\}\},"eventMetadata":\{"eventId":")'
    rb'[^"\\]*"(?:,"inferenceId":"(?:[^"\\]|\\.)*")?,"inferenceTime":"[^"\\]*"\},"eventVersion":"0"\}'
)
_INFERENCE, _TIME, _END = b'","inferenceId":"', b'","inferenceTime":"', b'"},"eventVersion":"0"}'


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
    if lines and (found := _cut(lines)) is not None:
        return found, []
    return _parsed(lines)


def _cut(lines: Sequence[bytes]) -> Records | None:
    """Records of lines that are like the first one but for bodies, ids and time; None when some are not."""
    first = _OURS.fullmatch(lines[0])
    if first is None:
        return None
    head, kind, middle, encoding, other, end, answered = first.groups()
    size, left, to_answer, to_ids, to_time = map(len, (head, _END, middle, end, _TIME))
    asked_end = [line.find(middle, size) for line in lines]
    told_end = [line.find(end, at) for line, at in zip(lines, asked_end, strict=True)]
    ids_end = [line.find(_TIME, at) for line, at in zip(lines, told_end, strict=True)]
    begun, ended = map(bytes.startswith, lines, repeat(head)), map(bytes.endswith, lines, repeat(_END))
    if min(asked_end) < 0 or min(told_end) < 0 or min(ids_end) < 0 or not all(begun) or not all(ended):
        return None
    cuts = list(zip(lines, asked_end, told_end, ids_end, strict=True))
    try:
        events, own = _ids([line[at + to_ids : to] for line, _, at, to in cuts])
        asked = _side(kind, encoding, [line[size:to] for line, to, _, _ in cuts])
        told = _side(other, answered, [line[at + to_answer : to] for line, at, to, _ in cuts])
        when = _texts([line[at + to_time : -left] for line, _, _, at in cuts])
    except (ValueError, Unreadable):
        return None
    return Records(list(range(len(lines))), events, own, when, asked, told)


def _ids(texts: list[bytes]) -> tuple[list[str], list[str | None]]:
    """Event ids, and inference ids where callers have sent any."""
    own: list[str | None] = [None] * len(texts)
    named = [place for place, text in enumerate(texts) if _INFERENCE in text]
    parts = {place: texts[place].partition(_INFERENCE) for place in named}
    for place, name in zip(named, _texts([last for _, _, last in parts.values()]), strict=True):
        own[place] = name
        texts[place] = parts[place][0]
    return _texts(texts), own


def _side(kind: bytes, encoding: bytes, bodies: Sequence[bytes]) -> Side:
    name = encoding.decode()
    data: list[str | bytes] = list(_texts(bodies))
    if name == "BASE64":
        data = [_bytes(str(text)) for text in data]
    elif name not in {"CSV", "JSON"}:
        raise Unreadable("unknown encoding")
    return Side([kind.decode()] * len(bodies), [name] * len(bodies), data)


def _texts(escaped: Sequence[bytes]) -> list[str]:
    """The texts that were written between quotes."""
    if not escaped:
        return []
    found: list[str] = orjson.loads(b'["' + b'","'.join(escaped) + b'"]')
    if len(found) != len(escaped):
        raise ValueError
    return found


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
    asked, answered = _captured(captured.get("endpointInput")), _captured(answer)
    found.lines.append(number)
    found.event_ids.append(event_id)
    found.inference_ids.append(own if isinstance(own, str) and own else None)
    found.times.append(at)
    for side, (kind, encoding, data) in ((found.asked, asked), (found.answered, answered)):
        side.types.append(kind)
        side.encodings.append(encoding)
        side.data.append(data)


def _captured(captured: Any) -> tuple[str, str, str | bytes]:
    if captured is None:
        return "", "", ""
    if not isinstance(captured, dict) or not isinstance(captured.get("data"), str):
        raise Unreadable("captured direction has no data")
    kind, encoding, data = captured.get("observedContentType"), captured.get("encoding"), captured["data"]
    if encoding not in {"CSV", "JSON", "BASE64"}:
        raise Unreadable(f"unknown encoding {str(encoding)[:20]}")
    return str(kind or ""), encoding, _bytes(data) if encoding == "BASE64" else data
