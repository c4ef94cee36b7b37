"""The files of an execution, in `{home}/reports/{endpoint}/{schedule}/yyyy/mm/dd/hh/`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from flows.monitoring.executions import Execution
from flows.monitoring.exporting import cloudwatch_lines
from monitoring.findings import Figure, Finding

VIOLATIONS, SUMMARY, CLOUDWATCH = "constraint_violations.json", "summary.json", "cloudwatch.jsonl"


def folder(home: Path, execution: Execution) -> Path:
    """Where the files of an execution lie."""
    return home / "reports" / execution.endpoint / execution.schedule / execution.window.folder


def write(out: Path, execution: Execution, finding: Finding | None) -> None:
    """Leave the documents of a finding, its violations and the summary; what an earlier look left goes."""
    out.mkdir(parents=True, exist_ok=True)
    documents = {**finding.documents, VIOLATIONS: finding.violations_document()} if finding else {}
    documents[SUMMARY] = summary(execution, finding.figures if finding else ())
    for old in out.glob("*.json"):
        if old.name not in documents:
            old.unlink()
    for name, content in documents.items():
        text = json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        _replace(out / name, text)
    _replace(out / CLOUDWATCH, cloudwatch_lines(execution, finding.figures if finding else ()))


def summary(execution: Execution, figures: Iterable[Figure]) -> dict[str, Any]:
    """`summary.json`: what SageMaker's ListMonitoringExecutions says of an execution, and its figures."""
    window = execution.window
    return {
        "endpoint": execution.endpoint,
        "schedule": execution.schedule,
        "monitoring_type": execution.kind,
        "status": execution.status.value,
        "exit_message": execution.exit_message,
        "failure_reason": execution.reason or None,
        "scheduled_time": window.scheduled.isoformat(),
        "start_time": window.start.isoformat(),
        "end_time": window.end.isoformat(),
        "creation_time": execution.created.isoformat(),
        "last_modified_time": execution.modified.isoformat(),
        "model": execution.model,
        "version": execution.version,
        "variant": execution.variant,
        "rows": execution.rows,
        "violations": len(execution.violations),
        "notes": list(execution.notes),
        "revision": execution.revision,
        "hours": dict(execution.hours),
        "flow_run": execution.flow_run,
        "figures": [
            {
                "name": figure.name,
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "n": figure.n,
                "estimated": figure.estimated,
                "dimensions": dict(figure.dimensions),
            }
            for figure in figures
        ],
    }


def plain(value: Any) -> Any:
    """Values that JSON knows: what is infinite or no number becomes SageMaker's text for it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _replace(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.{uuid4().hex}")  # two looks at one window may write at once
    new.write_text(text, encoding="utf-8")
    new.replace(file)
