"""What the dashboards and alert rules ask of Prometheus."""

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1] / "dashboards"
BOARDS = sorted((ROOT / "grafana").glob("*.json"))
NAME = re.compile(r"\b(?:seaway|envoy)_[a-z0-9_]+\b(?!\s*[=!]~?)")
"""A metric; a label's name is followed by its comparison."""
LABELS = {"envoy_response_code_class", "envoy_cluster_name"}


def board(file):
    return json.loads(file.read_text())


def rules():
    document = yaml.safe_load((ROOT / "prometheus" / "rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries(document):
    """Every expression of a board: those of panels and of variables."""
    found = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    return found + [
        variable["definition"] for variable in document["templating"]["list"] if "definition" in variable
    ]


def expressions():
    return [query for file in BOARDS for query in queries(board(file))] + [rule["expr"] for rule in rules()]


def metrics(prefix):
    """Names of metrics that are used anywhere and begin like this."""
    found = {name for expression in expressions() for name in NAME.findall(expression)}
    return {name for name in found - LABELS if name.startswith(prefix)}
