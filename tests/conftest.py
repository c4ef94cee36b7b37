"""Fixtures of every suite, and how hard property tests try: `quick` while working, `thorough` in `make test`."""

import os

from hypothesis import settings

pytest_plugins = ("tests.docker_engine", "tests.local_target", "tests.postgres", "tests.small_project")

settings.register_profile("quick", max_examples=12, deadline=None)
settings.register_profile("thorough", max_examples=20, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
