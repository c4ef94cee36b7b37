"""Dashboards and alert rules: valid, and about metrics that the controller really exports."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from configs.settings import DEFAULT_PORTS, GATEWAYS
from flows.monitoring.executions import Action, Alert, AlertStatus, Datapoint, Execution, Status
from flows.monitoring.exporting import Deed, exposition
from flows.monitoring.windows import SCHEDULES, Window
from monitoring.findings import Figure
from tests.dashboards import BOARDS, ROOT, board, expressions, metrics, queries, rules

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON - timedelta(hours=1), NOON)


def exported():
    """Labels by name of every metric that the controller exports."""
    execution = Execution("a", "data-quality", "DataQuality", WINDOW, Status.COMPLETED, NOON, NOON, rows=1)
    point = Datapoint("a", "data-quality", "DataQuality", WINDOW, Figure("f1", 0.5, 0.4, 0.6, 1), "v1")
    alert = Alert("a", "drift", AlertStatus.IN_ALERT, NOON)
    deeds = [Deed.of_alarm(Action("1", alert, "rollback", "version 2 is restored"))]
    text = exposition([(execution, [point])], [execution], [alert], NOON, deeds).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_ours_is_exported():
    assert metrics("seaway_")
    assert metrics("seaway_") <= set(exported())


def test_every_label_of_our_metrics_is_exported():
    known = exported()
    for expression in expressions():
        for name, inside in re.findall(r"(seaway_[a-z_]+)\{([^}]*)\}", expression):
            assert set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", inside)) <= known[name], expression


@pytest.mark.parametrize("expression", expressions())
def test_expressions_are_balanced(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    for opening, closing in ("()", "[]", "{}"):
        assert bare.count(opening) == bare.count(closing)


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_boards_are_grafana_s(file):
    document = board(file)
    assert document["uid"] == file.stem
    assert document["id"] is None  # else an import is refused
    assert document["schemaVersion"] >= 36
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"] for variable in document["templating"]["list"]}
    used = {name for query in queries(document) for name in re.findall(r"\$([a-z]+)\b", query)}
    assert used <= variables


@pytest.mark.parametrize("file", BOARDS, ids=lambda file: file.stem)
def test_panels_do_not_overlap(file):
    taken = set()
    for panel in board(file)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_boards_load_nothing_from_elsewhere():
    assert not [file for file in BOARDS if re.search(r"https?://", file.read_text())]


def test_rules_say_what_happened_and_what_to_do():
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_rules_watch_what_matters():
    told = json.dumps(rules())
    for name in ("violations", "execution_age_seconds", "label_coverage", "guard", "rollback"):
        assert name in told


def test_labels_of_rules_come_from_their_expression():
    known = {"endpoint", "monitoring_schedule", "alarm", "acted", "source", "variant", "instance"}
    for rule in rules():
        used = set(re.findall(r"\$labels\.([a-z_]+)", json.dumps(rule["annotations"])))
        assert used <= known


def test_an_action_that_came_to_nothing_was_not_taken():
    alert = Alert("a", "drift", AlertStatus.IN_ALERT, NOON)
    outcomes = {
        "told 1 of 1 addresses": True,
        "not rolled back: x": False,
        "": False,
        "failed with X: y": False,
    }
    assert {one: Deed.of_alarm(Action("1", alert, "rollback", one)).acted for one in outcomes} == outcomes


def test_only_the_latest_action_of_a_kind_is_exported():
    deeds = [
        Deed("a", "guard", "rollback", acted=True, at=NOON - timedelta(hours=back)) for back in (5, 1, 3)
    ]
    text = exposition([], [], [], NOON, deeds).decode()
    name = "seaway_monitoring_action_age_seconds"
    assert [line for line in text.splitlines() if line.startswith(name)] == [
        f'{name}{{acted="true",action="rollback",endpoint="a",source="guard"}} 3600.0'
    ]


def test_prometheus_scrapes_the_default_ports():
    document = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in document["scrape_configs"]}
    assert jobs["seaway"] == [f"127.0.0.1:{DEFAULT_PORTS['controller']}"]
    assert jobs["seaway-gateway"] == [f"127.0.0.1:{DEFAULT_PORTS[admin]}" for admin in GATEWAYS.values()]
    assert (ROOT / "prometheus" / document["rule_files"][0]).is_file()


def test_schedules_of_the_boards_are_ours():
    named = {name for one in expressions() for name in re.findall(r'monitoring_schedule="([a-z-]+)"', one)}
    assert named <= set(SCHEDULES.values())
