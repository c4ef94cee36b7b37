from __future__ import annotations

import os
import socket

import pytest

from configs.settings import Settings
from seaway.memory import proportional_bytes
from seaway.platform import Platform, PlatformError, _Free, follow, last_lines


def test_the_end_of_a_log(tmp_path):
    file = tmp_path / "a.log"
    file.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert last_lines(file, 2) == ["line 4998", "line 4999"]
    assert last_lines(file, 0) == []
    file.write_text("")
    assert last_lines(file, 5) == []


def test_following_goes_on_after_a_rotation(tmp_path):
    file = tmp_path / "a.log"
    file.write_text("old\n")
    rounds = iter(range(4))

    def more():
        match next(rounds, None):
            case 0:
                with file.open("a") as opened:
                    opened.write("one\n")
            case 1:
                file.rename(tmp_path / "a.log.1")
                file.write_text("two\n")
            case None:
                return False
        return True

    assert list(follow(file, more)) == ["one", "two"]


def test_a_port_somebody_listens_on_is_not_free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not _Free("127.0.0.1")(port)
    assert _Free("127.0.0.1")(port)


def test_only_a_seaway_home_is_purged(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(PlatformError, match="no Seaway home"):
        Platform(Settings(home=tmp_path)).purge()
    assert (tmp_path / "precious").exists()
    Settings(home=tmp_path).save()
    Platform(Settings(home=tmp_path)).purge()
    assert not tmp_path.exists()


def test_an_unknown_log_is_named_with_those_that_exist(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mlflow.log").write_text("")
    with pytest.raises(PlatformError, match="'x'; there are: mlflow"):
        Platform(Settings(home=tmp_path)).log("x")


def test_memory_of_this_process():
    assert proportional_bytes(os.getpid()) > 1_000_000
    assert proportional_bytes(2**22 + 1) == 0
