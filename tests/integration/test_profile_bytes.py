"""Equal rows give equal bytes, in whatever process."""

import hashlib
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CODE = """
import hashlib, sys
import numpy as np, polars as pl
from monitoring.profiles import merge, scan

rng = np.random.default_rng(1)
def table(n):
    return pl.DataFrame({
        "x": rng.normal(size=n), "i": rng.integers(0, 30, n), "w": rng.lognormal(0, 3, n),
        "s": pl.Series(rng.integers(0, 25_000, n)).cast(pl.String) + "k",
        "z": pl.Series(rng.integers(0, 9, n)).cast(pl.String),
    })
parts = [scan.profile(table(120_000)), scan.profile(table(33_333), threads=1)]
sys.stdout.write(hashlib.sha256(parts[0].to_bytes() + merge(*parts).to_bytes()).hexdigest())
"""


def test_two_processes_write_the_same() -> None:
    made = {
        subprocess.run(
            (sys.executable, "-c", CODE),
            check=True,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "3"))
    }
    assert len(made) == 1
    assert len(made.pop()) == len(hashlib.sha256().hexdigest())
