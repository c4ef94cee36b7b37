"""A process that decodes hours: jobs come in, and a line goes out for each that is done."""

from __future__ import annotations

import json
import os
import pickle
import sys

from steps.hours import apart


def main() -> None:
    """Work off the jobs that the process which has started this one gives."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    for job in pickle.load(sys.stdin.buffer):  # noqa: S301 (from the process that has started this one)
        done = apart(job)
        told = {"at": job.at.isoformat(), "changed": done.changed, "records": done.records}
        print(json.dumps(told | {"refusal": done.refusal}), file=out)


if __name__ == "__main__":
    main()
