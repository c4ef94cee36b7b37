"""Logs of containers: nothing lost, nothing doubled, across restarts and rotations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deploy.following import KEPT, Followers, Journal


def stamped(number: int, text: str = "line") -> bytes:
    return f"2026-03-01T12:00:{number // 1000:02}.{number % 1000:03}000000Z {text} {number}\n".encode()


def kept(log: Path) -> list[str]:
    files = [log.with_name(f"{log.name}.{number}") for number in range(KEPT, 0, -1)]
    return [line for file in (*files, log) if file.exists() for line in file.read_text().splitlines()]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_follower_that_begins_again_loses_and_doubles_nothing(lengths: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log, written = Path(folder) / "a.log", 0
        for length in lengths:
            written += length
            with Journal(log) as journal:
                for number in range(written):  # the engine tells everything from the beginning
                    journal.write(stamped(number))
        assert kept(log) == [stamped(number).decode().rstrip() for number in range(written)]


def test_lines_that_the_engine_repeats_or_mixes_up_are_kept_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.log") as journal:
        for number in (1, 3, 2, 3, 4, 2):
            journal.write(stamped(number))
    assert [line.split()[-1] for line in kept(tmp_path / "a.log")] == ["1", "3", "2", "4"]


def test_a_long_line_comes_in_pieces_and_stays_one(tmp_path: Path) -> None:
    first = stamped(1)[:31]
    with Journal(tmp_path / "a.log") as journal:
        journal.write(first + b"aa")
        journal.write(first + b"aa")
        journal.write(first + b"b\n")
        journal.write(stamped(2)[:31] + b"cut")
        journal.write(stamped(3))
    assert [line.split(" ", 1)[1] for line in kept(tmp_path / "a.log")] == ["aaaab", "cut", "line 3"]


def test_a_log_is_set_aside_when_it_is_full_and_three_stay(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with Journal(log, maximum=100) as journal:
        for number in range(40):
            journal.write(stamped(number))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert kept(log)[-1].endswith("39")
    with Journal(log) as journal:
        assert stamped(39).decode().startswith(journal.last)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.log") as first:
        assert first.mine
        with Journal(tmp_path / "a.log") as second:
            assert not second.mine


def test_a_container_is_followed_once_and_again_after_its_end(tmp_path: Path) -> None:
    opened: list[str] = []
    over = threading.Event()

    def frames(_name: str, since: str) -> Iterator[bytes]:
        opened.append(since)
        yield stamped(len(opened))
        over.wait(5)

    followers = Followers(frames)
    followers.follow("c", tmp_path / "a.log")
    followers.follow("c", tmp_path / "a.log")
    over.set()
    followers._threads["c"].join(5)
    assert not followers.busy("c")
    followers.follow("c", tmp_path / "a.log")
    followers._threads["c"].join(5)
    assert opened == ["", stamped(1)[:30].decode()]
    assert len(kept(tmp_path / "a.log")) == 2
