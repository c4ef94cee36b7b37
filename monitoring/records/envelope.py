"""Lines of capture files to their parts: who asked when, and what went in and came out, still encoded.

Lines as our own recorder writes them differ in bodies, ids and times alone. All that stands between those
is replaced by marks, so that one JSON list of texts and marks remains for thousands of lines. What is
replaced has quotes in it, and cannot occur inside a JSON text, where every quote has a backslash before it;
and since no line holds a mark's number, marks in their right order prove every line. Lines that differ in
anything else are parsed one by one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
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
_TIME, _END = b'","inferenceTime":"', b'"},"eventVersion":"0"}'
_INFERENCE = b'","inferenceId":"'
_ESCAPED, _OWN = b"\\u0000inferenceId\\u0000", "\x00inferenceId\x00"
_RARE = 900719925474099
_MARKS = tuple(10 * _RARE + number for number in (3, 5, 7, 9))
"""Odd numbers beyond what a float can hold, so that no other number is equal to them."""
_TOGETHER = 2048
"""Lines that are cut together; what they fill fits into a processor's cache."""
_MOST_SHAPES = 16
_FEW = 64
"""Lines that are parsed one by one when one of them is odd."""


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of many records, place by place; text where the encoding is text, else bytes."""

    types: list[str] = field(default_factory=list)
    """Observed content types."""
    encodings: list[str] = field(default_factory=list)
    """CSV, JSON or BASE64; empty where this direction was not captured."""
    data: list[str | bytes] = field(default_factory=list)

    def extend(self, other: Side) -> None:
        """Add the records of another."""
        self.types.extend(other.types)
        self.encodings.extend(other.encodings)
        self.data.extend(other.data)

    def picked(self, places: Sequence[int]) -> Side:
        """The records at these places."""
        return Side(
            [self.types[place] for place in places],
            [self.encodings[place] for place in places],
            [self.data[place] for place in places],
        )


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

    def extend(self, other: Records) -> None:
        """Add the records of another."""
        self.lines.extend(other.lines)
        self.event_ids.extend(other.event_ids)
        self.inference_ids.extend(other.inference_ids)
        self.times.extend(other.times)
        self.asked.extend(other.asked)
        self.answered.extend(other.answered)

    def in_order(self) -> Records:
        """The same by their lines."""
        order = sorted(range(len(self.lines)), key=self.lines.__getitem__)
        return Records(
            [self.lines[place] for place in order],
            [self.event_ids[place] for place in order],
            [self.inference_ids[place] for place in order],
            [self.times[place] for place in order],
            self.asked.picked(order),
            self.answered.picked(order),
        )


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
    found, refused = Records(), dict[int, Refusal]()
    for first in range(0, len(lines), _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, len(lines)))
        cut = _cut(lines[first : first + _TOGETHER], numbers)
        found.extend(cut or _mixed(lines, numbers, refused))
    return found, [refused[number] for number in sorted(refused)]


def _mixed(lines: Sequence[bytes], numbers: Sequence[int], refused: dict[int, Refusal]) -> Records:
    """Records of lines that are not all alike."""
    found = Records()
    for same in _by_shape(lines, numbers):
        waiting = [same]
        while waiting:
            some = waiting.pop()
            if len(some) <= _FEW:
                _parsed(lines, some, found, refused)
            elif cut := _cut([lines[number] for number in some], some):
                found.extend(cut)
            else:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
    return found.in_order()


def _by_shape(lines: Sequence[bytes], every: Sequence[int]) -> list[list[int]]:
    """Numbers of the lines that may be cut together; lastly, in small parts, of those that may not."""
    shapes: dict[tuple[bytes, bytes, bytes], list[int]] = {}
    others: list[int] = []
    for number in every:
        line = lines[number]
        for (head, middle, end), numbers in shapes.items():
            if line.startswith(head) and middle in line and end in line:
                numbers.append(number)
                break
        else:
            ours = _OURS.fullmatch(line) if len(shapes) < _MOST_SHAPES else None
            if ours:
                shapes[ours[1], ours[3], ours[6]] = [number]
            else:
                others.append(number)
    return [*shapes.values(), *(others[first : first + _FEW] for first in range(0, len(others), _FEW))]


def _cut(lines: Sequence[bytes], numbers: Sequence[int]) -> Records | None:
    """Records of lines that are like the first one but for bodies, ids and time; None when some are not."""
    first = _OURS.fullmatch(lines[0])
    if first is None or not lines[-1].endswith(_END) or not _is_json(lines[0]):
        return None
    head, kind, middle, encoding, other, end, answered = first.groups()
    block = b"\n".join(lines)
    if block.count(b"\n") != len(lines) - 1 or b"%d" % _RARE in block:
        return None
    own = block.count(_INFERENCE)
    if own and _ESCAPED in block:
        return None
    block = block[len(head) : -len(_END)].replace(_INFERENCE, _ESCAPED, own)
    texts = _texts(block, (_END + b"\n" + head, middle, end, _TIME), len(lines))
    if texts is None:
        return None
    asked, told, ids, times = texts
    try:
        events, named = _ids(ids, own)
        sides = _side(kind, encoding, asked), _side(other, answered, told)
    except Unreadable:
        return None
    return Records(list(numbers), events, named, times, *sides)


def _texts(block: bytes, between: Sequence[bytes], lines: int) -> list[list[Any]] | None:
    """The texts of each line; None when what stands between them is not the same in every line."""
    for mark, part in zip(_MARKS, between, strict=True):
        block = block.replace(part, b'",%d,"' % mark)
    try:
        found: list[Any] = orjson.loads(b'["' + block + b'"]')
    except orjson.JSONDecodeError:
        return None
    line, *parts = _MARKS
    if found[7::8] != [line] * (lines - 1):
        return None
    if any(found[place::8] != [mark] * lines for place, mark in zip((1, 3, 5), parts, strict=True)):
        return None
    return [found[place::8] for place in (0, 2, 4, 6)]


def _ids(texts: list[str], own: int) -> tuple[list[str], list[str | None]]:
    """Event ids, and the inference ids that callers have sent.

    Raises:
        Unreadable: there is no event id, or a text that is none looks like the so many inference ids.
    """
    if own:
        parts = [text.split(_OWN) for text in texts]
        if sum(map(len, parts)) != len(parts) + own or max(map(len, parts)) > 2:
            raise Unreadable("ids are not where they belong")
        texts = [one[0] for one in parts]
        named = [one[1] or None if len(one) > 1 else None for one in parts]
    else:
        named = [None] * len(texts)
    if not all(texts):
        raise Unreadable("record has no eventId")
    return texts, named


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _side(kind: bytes, encoding: bytes, bodies: list[str]) -> Side:
    name = encoding.decode()
    if name not in {"CSV", "JSON", "BASE64"}:
        raise Unreadable("unknown encoding")
    data: list[str | bytes] = [_bytes(text) for text in bodies] if name == "BASE64" else [*bodies]
    return Side([kind.decode()] * len(bodies), [name] * len(bodies), data)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable("data are not BASE64") from None


# ---- line by line -----------------------------------------------------------------------------------------


def _parsed(
    lines: Sequence[bytes], numbers: Sequence[int], found: Records, refused: dict[int, Refusal]
) -> None:
    for number in numbers:
        event_id = ""
        try:
            record = _loaded(lines[number])
            about = record.get("eventMetadata")
            if isinstance(about, dict) and isinstance(about.get("eventId"), str):
                event_id = about["eventId"]
            _add(found, number, record)
        except Unreadable as problem:
            refused[number] = Refusal(event_id, "record", str(problem))


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
