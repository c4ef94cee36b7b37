"""What the model sees of a record, and what is written of record and answer.

The order is: input filter, model, join with the unfiltered record, output filter, inference id and time.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import zip_longest
from typing import Any

import orjson

from steps.transform import jsonpath
from steps.transform.errors import ObjectFailed
from steps.transform.job import CSV, Job
from steps.transform.records import Payload

OUTPUT, INPUT = "SageMakerOutput", "SageMakerInput"
ID, TIME = "SageMakerInferenceId", "SageMakerInferenceTime"
_NOTHING = object()
_QUOTED_OR_COMMA = re.compile(rb'"[^"]*"|"|,')


class Shaper:
    """Shapes the records of one object.

    Args:
        job: the job, which was checked.
        key: the object's key; with the job's digest it makes inference ids, so that repeating gives the same.
        digest: of the job.
        at: the job's time, which is written as the inference time.
    """

    def __init__(self, job: Job, key: str, digest: str, at: datetime) -> None:
        wanted, capture = job.data_processing, job.data_capture_config
        self._accept = job.transform_output.accept
        self._lines = job.transform_input.split_type == "Line"
        self._answer_lines = job.transform_output.assemble_with == "Line"
        self._joined = wanted.join_source == "Input"
        self._input, self._output = jsonpath.parse(wanted.input_filter), jsonpath.parse(wanted.output_filter)
        self._filter = _record_filter(self._input, job.transform_input.content_type)
        self._space = (
            uuid.uuid5(uuid.UUID(digest[:32]), key) if capture and capture.generate_inference_id else None
        )
        self._time = f"{at:%Y-%m-%dT%H:%M:%SZ}"
        self._make = self._csv() if self._accept == CSV else self._json

    @property
    def shapes(self) -> bool:
        """Output records are made one by one; else answers are written as they come."""
        return self._joined or not self._output.whole or self._space is not None

    @property
    def filters(self) -> bool:
        """The model sees less than the record."""
        return not self._input.whole

    def record_for_model(self, record: bytes, number: int) -> bytes:
        """The record as the model sees it.

        Raises:
            ObjectFailed: it is malformed, or lacks what the filter asks for.
        """
        return self._filter(record, number) if self.filters else record

    def body(self, payload: Payload) -> bytes:
        """The payload as the model sees it; raises as `record_for_model`."""
        if not self.filters:
            return payload.body
        records = self.records(payload)
        return b"\n".join(self._filter(record, n) for n, record in enumerate(records, start=payload.first))

    def records(self, payload: Payload) -> list[bytes]:
        """The payload's records."""
        return payload.body.split(b"\n") if self._lines else [payload.body]

    def answers(self, answer: bytes, count: int) -> list[bytes]:
        """The records of an answer to `count` records; one JSON answer to one record is one record."""
        if not self._answer_lines or (count == 1 and self._accept != CSV):
            return [answer]
        return answer.removesuffix(b"\n").replace(b"\r\n", b"\n").removesuffix(b"\r").split(b"\n")

    def results(self, records: Iterable[bytes], answers: Iterable[bytes], first: int) -> Iterator[bytes]:
        """Output records, without line ends.

        Raises:
            ObjectFailed: a join has more records than answers or the reverse, or one of them is malformed.
        """
        if not self._joined:
            yield from (self._make(b"", answer, n) for n, answer in enumerate(answers, start=first))
            return
        pairs = zip_longest(records, answers, fillvalue=_NOTHING)
        for number, pair in enumerate(pairs, start=first):
            record, answer = pair
            if not isinstance(record, bytes) or not isinstance(answer, bytes):
                amount = "fewer" if isinstance(record, bytes) else "more"
                raise ObjectFailed(
                    f"the model gave {amount} answers than there are records at record {number}, so they "
                    "cannot be joined; remove header and empty lines, or use SingleRecord"
                )
            yield self._make(record, answer, number)

    def _csv(self) -> Callable[[bytes, bytes, int], bytes]:
        select = self._output.selector()
        whole = self._output.whole

        def make(record: bytes, answer: bytes, number: int) -> bytes:
            row = b"%b,%b" % (record, answer) if self._joined else answer
            if not whole:
                row = _select(select, row, number, "output")
            return b"%b,%b,%b" % (row, *self._mark(number)) if self._space else row

        return make

    def _json(self, record: bytes, answer: bytes, number: int) -> bytes:
        value = _value(answer, number, "the answer to record")
        if self._joined:
            value = join(_value(record, number, "record"), value)
        if not self._output.whole:
            value = _found(self._output, value, number, "output")
        if self._space:
            inference_id, time = self._mark(number)
            value = {
                **(value if isinstance(value, dict) else {OUTPUT: value}),
                ID: inference_id.decode(),
                TIME: time.decode(),
            }
        return _text(value, number)

    def _mark(self, number: int) -> tuple[bytes, bytes]:
        space = self._space or uuid.NAMESPACE_OID
        return str(uuid.uuid5(space, str(number))).encode(), self._time.encode()


def join(record: Any, answer: Any) -> dict[str, Any]:
    """A JSON record and the model's answer as one object."""
    return {**record, OUTPUT: answer} if isinstance(record, dict) else {INPUT: record, OUTPUT: answer}


def cells(row: bytes) -> list[bytes]:
    """The cells of a CSV row exactly as they are written, quotes included.

    Raises:
        ValueError: a quote is open.
    """
    if b'"' not in row:
        return row.split(b",")
    found, start = [], 0
    for part in _QUOTED_OR_COMMA.finditer(row):
        if part[0] == b",":
            found.append(row[start : part.start()])
            start = part.end()
        elif part[0] == b'"':
            raise ValueError("it has an open quote; rows with line breaks inside cannot be split")
    return [*found, row[start:]]


def _record_filter(path: jsonpath.Path, media: str) -> Callable[[bytes, int], bytes]:
    if path.whole:
        return lambda record, _number: record
    if media != CSV:
        return lambda record, number: _text(
            _found(path, _value(record, number, "record"), number, "input"), number
        )
    select = path.selector()
    return lambda record, number: _select(select, record, number, "input")


def _select(select: Callable[[list[bytes]], list[bytes]], row: bytes, number: int, which: str) -> bytes:
    try:
        return b",".join(select(cells(row)))
    except ValueError as error:
        raise ObjectFailed(f"{which} filter, record {number}: {error}") from None


def _found(path: jsonpath.Path, value: Any, number: int, which: str) -> Any:
    try:
        return path.select(value)
    except jsonpath.NothingThere as error:
        raise ObjectFailed(f"{which} filter {path.text}, record {number}: {error}") from None


def _value(text: bytes, number: int, what: str) -> Any:
    try:
        return json.loads(text, parse_float=_as_written, parse_int=_as_written, parse_constant=_as_written)
    except ValueError as error:
        raise ObjectFailed(f"{what} {number} is not JSON: {error}") from None


def _as_written(number: str) -> orjson.Fragment:
    """Numbers pass through with every digit their author gave them; no one here reckons with them."""
    return orjson.Fragment(number)


def _text(value: Any, number: int) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise ObjectFailed(f"record {number} cannot be written as JSON: {error}") from None
