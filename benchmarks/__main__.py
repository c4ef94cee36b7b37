"""Every benchmark in order, each in a process of its own: `python -m benchmarks`.

Exit status 1 when one of them found what must not be; the others run all the same.
"""

from __future__ import annotations

import subprocess
import sys

SUBJECTS = (
    "benchmarks.serving.peers",
    "benchmarks.flows.overhead",
    "benchmarks.flows.approval",
    "benchmarks.gateway.weights",
    "benchmarks.gateway.shadow",
    "benchmarks.serving.compile",
    "benchmarks.serving.servers",
    "benchmarks.serving.transform",
    "benchmarks.serving.transform_workers",
    "benchmarks.judge.honesty",
    "benchmarks.monitoring.peers",
    "benchmarks.monitoring.large",
)


def main() -> int:
    failed = []
    for subject in SUBJECTS:
        print(f"\n== {subject}", flush=True)
        if subprocess.run((sys.executable, "-m", subject), check=False).returncode:
            failed.append(subject)
    if failed:
        print(f"\nnot as it must be: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
