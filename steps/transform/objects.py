"""One object through the model: read, split, filter, send, join, assemble, write."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import IO

from steps.transform import records, storage
from steps.transform.bench import Bench
from steps.transform.job import Job
from steps.transform.joining import Shaper
from steps.transform.port import Finished
from steps.transform.records import Payload
from steps.transform.sending import Caller, in_order
from steps.transform.storage import Source

_SPOOLED = 8 << 20
"""Bytes of a streamed answer that are held in memory; the rest is in a temporary file."""
_CHUNK = 1 << 16
_LINES = 1000
"""Filtered lines in one chunk."""
Moving = Callable[[int], None]
"""Is told of bytes read since the last time."""


def transform_object(bench: Bench, source: Source, moved: Moving) -> Finished:
    """Write the object's result, whole or not at all.

    Args:
        bench: of this worker.
        source: the object.
        moved: is told how far it has come.

    Raises:
        ObjectFailed: says why there is no result.
    """
    started = time.perf_counter()
    work = bench.work
    shaper = Shaper(work.job, source.key, work.digest, work.at)
    streamed = bench.limits.payload == 0 and not _by_record(bench)
    act = _streamed if streamed else _packed
    with Caller(bench.server, work.job) as caller, storage.writing(source.out, work.digest[:12]) as out:
        count = act(bench, caller, shaper, source, out, moved)
        written = out.tell()
    return Finished(source.key, count, written, round(time.perf_counter() - started, 3))


def _by_record(bench: Bench) -> bool:
    """Whether payloads are bounded although their size is not."""
    source = bench.work.job.transform_input
    return bench.limits.single and source.split_type != "None"


# --- payloads of bounded size -----------------------------------------------------------------------------


def _packed(
    bench: Bench, caller: Caller, shaper: Shaper, source: Source, out: IO[bytes], moved: Moving
) -> int:
    wanted = bench.work.job.transform_input
    count = read = 0
    with storage.reading(source.uri, wanted.compression_type) as (stream, raw):
        found = records.payloads(stream, wanted.split_type, bench.limits.payload, single=bench.limits.single)
        fitting = (part for payload in found for part in _fitting(payload, shaper, bench.limits.payload))
        for (payload, _), answer in in_order(
            fitting, lambda one: _send(bench, caller, one), bench.limits.concurrent
        ):
            _assemble(bench, shaper, payload, answer, out)
            count += payload.count
            now = raw.tell()
            moved(now - read)
            read = now
        moved(source.size - read)
    return count


def _fitting(payload: Payload, shaper: Shaper, limit: int) -> Iterator[tuple[Payload, bytes]]:
    """The payload with its filtered body; in halves when writing it anew has made it too long."""
    body = shaper.body(payload)
    if not limit or len(body) <= limit:
        yield payload, body
        return
    if payload.count == 1:
        raise records.too_large(payload.first, limit)
    lines, middle = payload.body.split(b"\n"), payload.count // 2
    for first, half in ((payload.first, lines[:middle]), (payload.first + middle, lines[middle:])):
        yield from _fitting(Payload(first, len(half), b"\n".join(half)), shaper, limit)


def _send(bench: Bench, caller: Caller, sent: tuple[Payload, bytes]) -> bytes:
    payload, body = sent
    sink = io.BytesIO()
    # Without a limit the length is not announced either: servers that want chunks get them for every payload.
    make = (lambda: body) if bench.limits.payload else (lambda: iter((body,)))
    caller.call(make, sink, payload.place)
    return sink.getvalue()


def _assemble(bench: Bench, shaper: Shaper, payload: Payload, answer: bytes, out: IO[bytes]) -> None:
    lines = bench.work.job.transform_output.assemble_with == "Line"
    if not shaper.shapes:
        out.write(answer)
        if lines and not answer.endswith(b"\n"):
            out.write(b"\n")
        return
    found = shaper.results(shaper.records(payload), shaper.answers(answer, payload.count), payload.first)
    end = b"\n" if lines else b""
    out.write(end.join([*found, b""]))


# --- one payload of any size ------------------------------------------------------------------------------


def _streamed(
    bench: Bench, caller: Caller, shaper: Shaper, source: Source, out: IO[bytes], moved: Moving
) -> int:
    """The object as one payload in chunks, its answer as a stream; read a second time for a join."""
    job = bench.work.job
    lines = job.transform_input.split_type == "Line"
    with storage.reading(source.uri, job.transform_input.compression_type) as (stream, _):
        if not stream.read(1):
            return 0  # no records, no call: as with payloads of bounded size
    with tempfile.SpooledTemporaryFile(_SPOOLED) as answer:
        caller.call(lambda: _chunks(job, shaper, source), answer, "the object")
        moved(source.size)
        answer.seek(0)
        if not shaper.shapes:
            return _copy(answer, out, line=job.transform_output.assemble_with == "Line")
        with storage.reading(source.uri, job.transform_input.compression_type) as (stream, _):
            inputs = records.lines(stream) if lines else iter((stream.read(),))
            by_line = job.transform_output.assemble_with == "Line"
            answers = records.lines(answer) if by_line else iter((answer.read(),))
            count = 0
            for record in shaper.results(inputs, answers, 1):
                out.write(record + b"\n" if by_line else record)
                count += 1
        return count


def _chunks(job: Job, shaper: Shaper, source: Source) -> Iterator[bytes]:
    with storage.reading(source.uri, job.transform_input.compression_type) as (stream, _):
        if not shaper.filters:
            while chunk := stream.read(_CHUNK):
                yield chunk
        elif job.transform_input.split_type == "Line":
            numbered = enumerate(records.lines(stream), start=1)
            while lines := [shaper.record_for_model(line, n) + b"\n" for n, line in islice(numbered, _LINES)]:
                yield b"".join(lines)
        else:
            yield shaper.record_for_model(stream.read(), 1)


def _copy(answer: IO[bytes], out: IO[bytes], *, line: bool) -> int:
    last = b""
    while chunk := answer.read(_CHUNK):
        out.write(chunk)
        last = chunk
    if line and not last.endswith(b"\n"):
        out.write(b"\n")
    return 1
