"""What the dashboards ask of the controller, held against a real scrape of it over HTTP, after real runs."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from seaway.service import Interface, Loops
from tests.dashboards import expressions, metrics
from tests.ports import free_port
from tests.processes import until
from tests.watched import HOUR, MONITOR, NOON, World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ALARM = {"name": "drift", "monitor": "DataQuality", "figure": "feature_baseline_drift_x"}
SELECTOR = re.compile(r"\b(seaway_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@contextmanager
def served(world):
    """The controller's interface on a real port, without its loops; yields the address."""
    routes, port = Interface(world.wiring, Loops(world.wiring)).routes(), free_port()
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory, watched_package):
    """Samples, after an hour with everything in it and one without rows."""
    told = MONITOR | {"alarms": [ALARM], "guard": {}}
    world = World(tmp_path_factory.mktemp("home"), watched_package, json.loads(json.dumps(told)))
    world.watch()
    pairs = world.capture(NOON - HOUR, shift=1.5)
    world.run().scheduled()
    world.label(pairs[:400])
    world.capture(NOON, wrong=3, name="b")
    world.now += HOUR
    world.run().scheduled()
    world.label(world.capture(NOON + HOUR, wrong=3, name="c"))
    world.now += HOUR
    world.run().scheduled()
    world.now += HOUR
    world.run().scheduled()
    with served(world) as address:
        answer = httpx.get(f"{address}/metrics", trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    world.engine.dispose()
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]


def fits(sample, inside):
    """Whether a sample has the labels that a selector wants; a variable of the board may be anything."""
    for label, how, wanted in MATCHER.findall(inside):
        found = re.fullmatch(re.sub(r"\$\w+", ".*", wanted), sample.labels.get(label, "")) is not None
        exact = sample.labels.get(label, "") == wanted
        if not {"=": exact, "!=": not exact, "=~": found, "!~": not found}[how]:
            return False
    return True


def test_every_metric_that_is_asked_for_is_scraped(scraped):
    assert metrics("seaway_")
    assert metrics("seaway_") <= {sample.name for sample in scraped}


@pytest.mark.parametrize(
    "selector", sorted({found for one in expressions() for found in SELECTOR.findall(one)})
)
def test_every_selector_finds_something(scraped, selector):
    name, inside = selector
    assert [sample for sample in scraped if sample.name == name and fits(sample, inside)]
