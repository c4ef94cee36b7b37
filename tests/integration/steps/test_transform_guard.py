"""The guard of a model server takes its command along, whenever it is asked to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

ENDED_BEFORE_ITS_CHILD_STARTS = """
import os, signal, subprocess, sys
from steps.transform import guard

def popen(*arguments, started=subprocess.Popen, **options):
    os.kill(os.getpid(), signal.SIGTERM)
    return started(*arguments, **options)

subprocess.Popen = popen
sys.exit(guard.main([sys.executable, "-c", "import time; time.sleep(60)"]))
"""


def test_an_end_before_the_command_runs_reaches_the_command() -> None:
    guard = subprocess.Popen([sys.executable, "-c", ENDED_BEFORE_ITS_CHILD_STARTS], stdin=subprocess.PIPE)
    try:
        assert guard.wait(30) == -signal.SIGTERM & 0xFF, "the guard must outlive its command and tell its end"
    finally:
        guard.kill()
        guard.communicate()
