"""Removal of old packages and step folders from a real home, by the functions and by the command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.monitor import Monitor
from configs.settings import Settings
from deploy.errors import RolloutRefused
from deploy.plan import at_once
from deploy.release import Release, Request
from flows.monitoring.executions import Execution, Status, Watch
from flows.monitoring.history import History
from flows.monitoring.logbook import Logbook
from flows.monitoring.windows import on_demand
from flows.pruning import prune_captures, prune_packages
from flows.wiring import Wiring, connect
from seaway.cli import application
from serving import package
from steps.job import key, run_step

pytestmark = pytest.mark.integration
DAY = timedelta(days=1)
NOW = datetime.now(UTC)  # noqa: TID251 (files have its time)


def aged(days: float, *paths: Path) -> None:
    moment = (NOW - days * DAY).timestamp()
    for path in paths:
        os.utime(path, (moment, moment))


def packed(home: Path, name: str, days: float) -> str:
    """A package of a thousand bytes and more, in its archive and unpacked, unused for some days."""
    content = home / "content" / name
    content.mkdir(parents=True)
    (content / "model.onnx").write_bytes(name.encode() * 1000)
    (home / "archives").mkdir(exist_ok=True)
    made = home / "archives" / f"{name}.new"
    digest = package.write(content, made)
    archive = made.replace(home / "archives" / f"{digest}.tar.gz")
    aged(days, archive, package.unpack(archive, home / "packages" / digest, digest))
    return digest


@pytest.fixture
def wiring(tmp_path: Path) -> Iterator[Wiring]:
    settings = Settings(home=tmp_path, keep_at_least=1)
    settings.save()
    wiring = connect(settings)
    yield wiring
    wiring.engine.dispose()


@pytest.fixture
def seaway(wiring: Wiring, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEAWAY_HOME", str(wiring.settings.home))

    def run(*words: str):
        return CliRunner().invoke(application(), ["prune", *words])

    return run


def release(version: str, digest: str) -> Release:
    return Release("late-arrivals", version, digest)


def ask(wiring: Wiring, endpoint: str, wanted: Release) -> Request:
    request = Request(f"{endpoint}-{wanted.version}", endpoint, wanted, at_once())
    wiring.store.ask(request, NOW)
    return request


def in_home(home: Path) -> set[str]:
    return {
        path.name.removesuffix(".tar.gz")
        for name in ("archives", "packages")
        for path in (home / name).iterdir()
    }


def test_packages_that_somebody_refers_to_stay(wiring: Wiring) -> None:
    home, store = wiring.settings.home, wiring.store
    names = ("stable", "previous", "running", "ending", "young", "newest", "old")
    ages = dict.fromkeys(names, 90.0) | {"young": 20, "newest": 0.01}
    digests = {name: packed(home, name, age) for name, age in ages.items()}
    ask(wiring, "served", release("1", digests["running"]))
    with store.writing() as writer:
        writer.serve("served", release("3", digests["stable"]), release("2", digests["previous"]))
        writer.retire(release("0", digests["ending"]).fleet("gone", wiring.archives))
    with pytest.raises(RolloutRefused):
        ask(wiring, "served", release("9", digests["old"]))
    assert store.packages() == {digests[name] for name in ("stable", "previous", "running", "ending")}

    would = prune_packages(wiring, NOW, dry_run=True)
    assert in_home(home) == set(digests.values())
    assert prune_packages(wiring, NOW) == would
    assert [item.name for item in would] == [digests["old"]]
    assert would[0].size > 3000
    assert in_home(home) == set(digests.values()) - {digests["old"]}
    assert prune_packages(wiring, NOW) == ()


def test_leftovers_go_and_what_is_not_ours_stays(wiring: Wiring) -> None:
    home = wiring.settings.home
    packed(home, "one", 0.01)
    left = [home / "archives" / "tmpabc", home / "packages" / ".0123.xyz"]
    for folder in (*left, home / "packages" / "notes"):
        folder.mkdir()
        aged(90, folder)
    assert {item.paths[0] for item in prune_packages(wiring, NOW)} == set(left)
    assert (home / "packages" / "notes").is_dir()


def test_the_command_shows_and_then_removes(wiring: Wiring, seaway) -> None:
    home = wiring.settings.home
    packed(home, "newest", 0.01)
    old = packed(home, "old", 10)
    folders = [
        run_step(
            "fit",
            key("fit", {"n": n}, {}, ""),
            home / "runs",
            lambda out: {"n": (out / "m").write_text("12345")},
        ).folder
        for n in range(3)
    ]
    for days, folder in zip((20, 10, 0), folders, strict=True):
        aged(days, folder)

    assert json.loads(seaway("--json").stdout)["removed"] == []
    shown = json.loads(seaway("--older-than", "7d", "--dry-run", "--json").stdout)
    assert {(row["what"], row["name"]) for row in shown["removed"]} == {
        ("fit", folders[0].name),
        ("fit", folders[1].name),
        ("package", old),
    }
    assert shown["bytes"] == sum(row["bytes"] for row in shown["removed"]) > 1000
    assert all(folder.exists() for folder in folders)

    removed = seaway("--older-than", "7d")
    assert removed.exit_code == 0
    assert "MiB are free" in removed.stdout
    assert [folder.exists() for folder in folders] == [False, False, True]
    assert old not in in_home(home)

    refused = seaway("--older-than", "soon")
    assert refused.exit_code == 1
    assert "--older-than" in refused.stderr
    assert "is not a duration" in refused.stderr


# ---- captured traffic -------------------------------------------------------------------------------------


def captured(home: Path, endpoint: str, days: float, *, seal: bool = False) -> list[Path]:
    """An hour of captures and outcomes, and what a monitor made of it."""
    at = (NOW - days * DAY).strftime("%Y/%m/%d/%H")
    folders = [home / name / endpoint / "v1" / at for name in ("captures", "captures-outcomes")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "00-00-000-x.jsonl").write_text("{}\n")
        aged(days, folder)
    if seal:
        (read := home / "monitoring" / endpoint / "v1" / at).mkdir(parents=True)
        (read / "seal.json").write_text("{}")
    return folders


def watched(wiring: Wiring, endpoint: str, monitor: Monitor) -> History:
    history = Logbook.of(wiring.engine).history
    history.watch(Watch(endpoint, "Scheduled", NOW - 300 * DAY, effective=monitor.model_dump_json()))
    return history


def test_old_captures_and_outcomes_go_and_their_empty_folders(wiring: Wiring) -> None:
    home = wiring.settings.home
    old, young = captured(home, "ships", 100), captured(home, "ships", 80)
    would = prune_captures(wiring, NOW, dry_run=True)
    assert all(folder.exists() for folder in old)
    assert prune_captures(wiring, NOW) == would
    assert {item.kind for item in would} == {"captures of ships/v1", "outcomes of ships/v1"}
    assert not any(folder.exists() or folder.parent.exists() for folder in old)
    assert all(folder.exists() for folder in young)
    assert prune_captures(wiring, NOW) == ()


def test_what_a_monitor_has_not_read_or_still_looks_at_stays(wiring: Wiring) -> None:
    home = wiring.settings.home
    hours = {days: captured(home, "ships", days, seal=days > 105) for days in (120, 110, 100)}
    quality = {"start_time_offset": "114d"}
    wide = Monitor.model_validate({"schedule": "daily", "catch_up": 0, "data_quality": quality})
    watched(wiring, "ships", wide)
    assert {item.paths[0] for item in prune_captures(wiring, NOW)} == set(hours[120])
    watched(wiring, "ships", Monitor.model_validate({"data_quality": {}}))
    assert {item.paths[0] for item in prune_captures(wiring, NOW)} == set(hours[110]), "100 was never read"


def test_what_somebody_has_asked_for_stays_while_it_is_looked_at(wiring: Wiring) -> None:
    hours = captured(wiring.settings.home, "ships", 100, seal=True)
    history = watched(wiring, "ships", Monitor.model_validate({"data_quality": {}}))
    window = on_demand(NOW - 101 * DAY, NOW - 99 * DAY)
    asked = Execution(
        "ships", "now-data-quality", "DataQuality", window, Status.PENDING, NOW, NOW, holder="me"
    )
    began = history.claim(asked, NOW)
    assert began is not None
    assert prune_captures(wiring, NOW) == ()
    history.finish(replace(began, status=Status.COMPLETED))
    assert {item.paths[0] for item in prune_captures(wiring, NOW)} == set(hours)


def test_captures_have_an_age_of_their_own(wiring: Wiring, seaway) -> None:
    captured(wiring.settings.home, "ships", 40)
    assert json.loads(seaway("--older-than", "7d", "--json").stdout)["removed"] == []
    shown = json.loads(seaway("--captures-older-than", "30d", "--json").stdout)
    assert [row["what"] for row in shown["removed"]] == ["captures of ships/v1", "outcomes of ships/v1"]
    refused = seaway("--captures-older-than", "soon")
    assert (refused.exit_code, "--captures-older-than" in refused.stderr) == (1, True)
