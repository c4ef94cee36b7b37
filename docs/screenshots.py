"""Take the README's screenshots of a running platform: `SEAWAY_HOME=... python docs/screenshots.py`.

Needs Chromium (`apt-get install chromium`). Shows the latest deploy run that promoted a version, in Prefect, and
that version in MLflow. Both are single-page applications: Chromium's virtual time lets them finish loading.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)
BUDGET_MILLISECONDS = 30_000


def ask(url: str, body: dict[str, Any]) -> Any:
    """POST JSON, get JSON."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def promoted(prefect: str) -> dict[str, Any]:
    """The latest run of the deploy flow that promoted its version."""
    runs = ask(f"{prefect}/api/flow_runs/filter", {
        "flows": {"name": {"any_": ["deploy"]}},
        "flow_runs": {"state": {"name": {"any_": ["Promoted"]}}},
        "sort": "START_TIME_DESC",
        "limit": 1,
    })
    if not runs:
        raise SystemExit("no version was promoted here yet; run: make demo ARGS=--keep")
    return runs[0]


def shoot(url: str, image: Path, width: int, height: int) -> None:
    """Save what a browser window of this size shows."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is not installed; run: apt-get install chromium")
    image.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, *FLAGS, f"--user-data-dir={profile}", f"--virtual-time-budget={BUDGET_MILLISECONDS}",
                f"--window-size={width},{height}", f"--screenshot={image}", url,
            ],
            check=True, capture_output=True, timeout=180,
        )
    print(f"{image.relative_to(DOCS.parent)}: {image.stat().st_size // 1024} KiB from {url}")


def main() -> None:
    """Both pictures."""
    from configs.settings import Settings

    settings = Settings.load()
    prefect, mlflow = settings.url("prefect"), settings.url("mlflow")
    run = promoted(prefect)
    model, version = run["parameters"]["model"], run["parameters"]["version"]
    shoot(f"{prefect}/runs/flow-run/{run['id']}", DOCS / "images" / "prefect-run.png", 1400, 1000)
    shoot(f"{mlflow}/#/models/{model}/versions/{version}", DOCS / "images" / "mlflow-version.png", 1400, 1500)


if __name__ == "__main__":
    main()
