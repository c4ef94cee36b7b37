"""Files: names, rotation, what a crash leaves, encryption, reading in order."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.capture import CaptureUnreadable, Exchange, Recorder, read, read_captures
from serving.capture.folder import Folder, Part, hour_begins, hour_of, recover
from serving.capture.settings import parse

KEY = bytes(range(32))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALL = (NOON - timedelta(days=1), NOON + timedelta(days=1))


def at(seconds: float) -> float:
    return NOON.timestamp() + seconds


def exchange(number: int, seconds: float = 0, size: int = 0) -> Exchange:
    data = json.dumps({"number": number, "filling": "x" * size}).encode()
    return Exchange(f"event-{number}", at(seconds), "application/json", data, "application/json", b"[]")


def record(number: int, seconds: float) -> bytes:
    time = (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"eventMetadata": {"eventId": str(number), "inferenceTime": time}}).encode() + b"\n"


def ids(records) -> list[str]:
    return [one["eventMetadata"]["eventId"] for one in records]


@pytest.fixture
def recorder(tmp_path: Path):
    made = []

    def make(clock=lambda: at(0), key=None, **entries) -> Recorder:
        entries = {"destination": str(tmp_path), "flush_seconds": 0.01} | entries
        settings = parse(json.dumps(entries))
        root = tmp_path / "late" / "blue"
        folder = Folder(root, rotate=settings.rotate_seconds, limit=settings.max_file_bytes, key=key)
        made.append(Recorder(settings, folder, clock=clock))
        return made[-1]

    yield make
    for one in made:
        one.close(10)


def complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def test_layout(recorder, tmp_path: Path) -> None:
    one = recorder()
    one.offer(exchange(1, seconds=870.683))
    assert one.close(10)
    (path,) = complete(tmp_path)
    name = path.relative_to(tmp_path).as_posix()
    assert re.fullmatch(
        r"late/blue/2026/03/01/12/14-30-683-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl", name
    )
    assert list(path.parent.iterdir()) == [path]


def test_close_loses_nothing_and_later_ones_are_counted(recorder, tmp_path: Path) -> None:
    one = recorder(flush_seconds=60)
    threads = [
        threading.Thread(target=lambda first=first: [one.offer(exchange(first + n, n)) for n in range(500)])
        for first in (0, 1000, 2000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.close(20)
    one.offer(exchange(9999))
    counts = one.counts
    assert (counts.offered, counts.written, counts.dropped_queue, counts.waiting) == (1501, 1500, 1, 0)
    assert len(set(ids(read_captures(tmp_path, *ALL)))) == 1500


def test_hours_are_separate_and_sizes_rotate(recorder, tmp_path: Path) -> None:
    one = recorder(max_file_bytes=1000)
    for number, seconds in enumerate((3599, 3600, 3598, 3601)):
        one.offer(exchange(number, seconds, size=2000))
    assert one.close(10)
    hours = [path.parent.name for path in complete(tmp_path)]
    assert set(hours) == {"12", "13"}
    assert ids(read_captures(tmp_path, *ALL)) == ["event-2", "event-0", "event-1", "event-3"]


def test_age_rotates(tmp_path: Path) -> None:
    folder = Folder(tmp_path, rotate=60, limit=1 << 20)
    folder.write(hour_of(at(0)), at(0), b"{}\n", now=at(0))
    folder.rotate(at(59))
    assert complete(tmp_path) == []
    folder.rotate(at(60))
    assert len(complete(tmp_path)) == folder.completed == 1


def test_the_end_of_the_hour_rotates(tmp_path: Path) -> None:
    folder = Folder(tmp_path, rotate=3600, limit=1 << 20)
    folder.write(hour_of(at(3500)), at(3500), b"{}\n", now=at(3500))
    folder.rotate(at(3629))
    assert complete(tmp_path) == []
    folder.rotate(at(3630))
    assert len(complete(tmp_path)) == 1


def test_a_full_queue_drops_and_says_so(recorder, caplog) -> None:
    one = recorder(flush_seconds=30, queue_items=3)
    with caplog.at_level(logging.WARNING, "serving"):
        for number in range(5):
            one.offer(exchange(number))
        assert one.counts.dropped_queue == 2
        assert one.close(10)
    assert "dropped 2 exchanges" in caplog.text


def test_a_full_queue_counts_bytes(recorder) -> None:
    one = recorder(flush_seconds=30, queue_bytes=10_000)
    one.offer(exchange(1, size=20_000))
    one.offer(exchange(2, size=8_000))
    one.offer(exchange(3, size=8_000))
    assert (one.counts.waiting, one.counts.dropped_queue) == (1, 2)


def test_a_disk_that_hangs_stops_nobody(tmp_path: Path) -> None:
    release, hangs = threading.Event(), threading.Event()

    class Hanging(Folder):
        def write(self, *arguments, **more) -> None:
            hangs.set()
            assert release.wait(30)
            super().write(*arguments, **more)

    settings = parse(json.dumps({"destination": "/x", "flush_seconds": 0.01, "queue_items": 10}))
    one = Recorder(
        settings, Hanging(tmp_path / "late" / "blue", rotate=60, limit=1 << 20), clock=lambda: at(0)
    )
    one.offer(exchange(0))
    assert hangs.wait(30)
    for number in range(1, 30):
        one.offer(exchange(number))
    assert (one.counts.waiting, one.counts.dropped_queue) == (10, 20)
    assert not one.close(0.01)
    release.set()
    assert one.close(30)
    assert (one.counts.written, one.counts.waiting) == (10, 0)


def test_a_used_disk_drops(recorder, tmp_path: Path) -> None:
    one = recorder(max_disk_percent=0)
    one.offer(exchange(1))
    assert one.close(10)
    assert (one.counts.dropped_disk, one.counts.written) == (1, 0)
    assert complete(tmp_path) == []


def test_what_makes_no_record_harms_nobody(recorder, tmp_path: Path) -> None:
    one = recorder()
    one.offer(None)
    one.offer(Exchange("bad", float("nan"), "", b"", "", b""))
    one.offer(exchange(1))
    assert one.close(10)
    assert (one.counts.dropped_invalid, one.counts.written) == (1, 1)
    assert ids(read_captures(tmp_path, *ALL)) == ["event-1"]


def test_an_exchange_without_id_gets_one(recorder, tmp_path: Path) -> None:
    one = recorder()
    one.offer(Exchange("", at(0), "text/csv", b"1", "text/csv", b"1"))
    assert one.close(10)
    (found,) = ids(read_captures(tmp_path, *ALL))
    assert re.fullmatch(r"[0-9a-f-]{36}", found)


@given(share=st.floats(0, 100), numbers=st.lists(st.integers(0, 10_000), unique=True, max_size=40))
def test_counts_add_up(tmp_path_factory, share: float, numbers: list[int]) -> None:
    settings = parse(
        json.dumps({"destination": "/x", "sampling": share, "flush_seconds": 0.01, "queue_items": 20})
    )
    one = Recorder(
        settings,
        Folder(tmp_path_factory.mktemp("c") / "a" / "b", rotate=60, limit=1 << 20),
        clock=lambda: at(0),
    )
    wanted = [number for number in numbers if one.samples(f"event-{number}")]
    for number in numbers:
        one.offer(exchange(number))
    assert one.close(10)
    counts = one.counts
    assert counts.offered == len(numbers) == counts.skipped + counts.written + counts.dropped
    assert counts.skipped == len(numbers) - len(wanted)


# ---- what a crash leaves ----------------------------------------------------------------------------------


def crashed(folder: Path, lines: list[bytes], cut: int, key: bytes | None) -> Path:
    """A hidden file as a killed process leaves it, without its last bytes."""
    part = Part(folder / "late" / "blue" / hour_of(at(0)), at(0), key)
    for one in lines:
        part.append(one)
    os.ftruncate(part._handle, max(0, part.size - cut))
    os.close(part._handle)
    return part._path


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(0, 2000), st.booleans())
def test_the_next_start_completes_what_is_whole(
    tmp_path_factory, sizes: list[int], cut: int, sealed: bool
) -> None:
    folder = tmp_path_factory.mktemp("crash")
    lines = [b"%d" % number + b"x" * size + b"\n" for number, size in enumerate(sizes)]
    key = KEY if sealed else None
    path = crashed(folder, lines, cut, key)
    left = path.stat().st_size
    recover(folder / "late")
    assert not path.exists()
    found = [one + b"\n" for file in complete(folder) for one in read(file, key)]
    assert found == lines[: len(found)]
    if not sealed:
        assert sum(map(len, found)) <= left < sum(map(len, lines[: len(found) + 1])) or found == lines
    elif cut == 0:
        assert found == lines


def test_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    part = Part(tmp_path / "late" / "blue" / hour_of(at(0)), at(0), None)
    part.append(b"{}\n")
    assert recover(tmp_path / "late") == 0
    assert part.complete()
    assert len(complete(tmp_path)) == 1
    assert recover(tmp_path / "late") == 0


def test_the_recorder_recovers_other_variants_too(recorder, tmp_path: Path) -> None:
    path = crashed(tmp_path, [b"{}\n"], 0, None)
    other = tmp_path / "late" / "green" / path.parent.relative_to(tmp_path / "late" / "blue")
    other.mkdir(parents=True)
    path.rename(other / path.name)
    assert recorder().close(10)
    assert len(complete(tmp_path)) == 1


# ---- encryption -------------------------------------------------------------------------------------------


def test_encrypted_files_need_their_key(recorder, tmp_path: Path) -> None:
    one = recorder(key=KEY)
    for number in range(3):
        one.offer(exchange(number, number))
    assert one.close(10)
    (path,) = complete(tmp_path)
    assert path.name.endswith(".jsonl.enc")
    assert b"captureData" not in path.read_bytes()
    assert ids(read_captures(tmp_path, *ALL, key=KEY)) == ["event-0", "event-1", "event-2"]
    with pytest.raises(CaptureUnreadable, match="is encrypted"):
        list(read(path))
    with pytest.raises(CaptureUnreadable, match="another key"):
        list(read(path, bytes(32)))


@given(
    st.lists(
        st.binary(min_size=1, max_size=40).map(lambda data: data.replace(b"\n", b" ") + b"\n"),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_a_changed_byte_is_noticed(tmp_path_factory, lines: list[bytes], data) -> None:
    folder = tmp_path_factory.mktemp("seal")
    path = crashed(folder, lines, 0, KEY)
    recover(folder / "late")
    (path,) = complete(folder)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = list(read(path, KEY))
    except CaptureUnreadable:
        return
    assert len(found) < len(lines)  # a changed length may look like a cut


# ---- reading in order -------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(-4000, 4000), max_size=8), max_size=6),
    st.integers(-4000, 4000),
    st.integers(0, 4000),
)
def test_records_come_by_time(tmp_path_factory, files: list[list[int]], since: int, length: int) -> None:
    folder = tmp_path_factory.mktemp("read")
    for number, times in enumerate(files):
        for hour in {hour_of(at(seconds)) for seconds in times}:
            path = folder / "late" / f"v{number % 2}" / hour / f"00-00-000-{number}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                b"".join(record(one, one) for one in times if hour_of(at(one)) == hour) + b'{"torn'
            )
    begin, end = NOON + timedelta(seconds=since), NOON + timedelta(seconds=since + length)
    found = [int(one) for one in ids(read_captures(folder, begin, end))]
    assert found == sorted(one for times in files for one in times if since <= one < since + length)
    assert sorted(found) == sorted(
        int(one)
        for variant in ("v0", "v1")
        for one in ids(read_captures(folder / "late" / variant, begin, end))
    )


def test_lines_that_are_no_record_are_named(tmp_path: Path, caplog) -> None:
    path = tmp_path / hour_of(at(0)) / "x.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        record(1, 1) + b"nonsense\n" + b'{"eventMetadata": {"inferenceTime": "soon"}}\n' + record(2, 0)
    )
    with caplog.at_level(logging.WARNING, "serving"):
        assert ids(read_captures(tmp_path, *ALL)) == ["2", "1"]
    assert [entry.args[0] for entry in caplog.records] == [2, 3]


def test_hours_know_their_begin() -> None:
    assert hour_begins(Path("any") / hour_of(at(1234))) == at(0)
