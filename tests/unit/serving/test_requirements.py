from __future__ import annotations

from importlib import metadata

import pytest

from serving.requirements import satisfied

THERE = metadata.version("orjson")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("", True),
        ("# nothing\n\n", True),
        (f"orjson=={THERE}  # pinned\nNumPy\n", True),
        ("orjson == 0.1", False),
        ("no-such-library-anywhere", False),
        ("orjson>=1", False),
        ("--index-url https://example.org\norjson", False),
    ],
)
def test_pip_is_asked_for_what_is_not_plainly_there(text: str, there: bool) -> None:
    assert satisfied(text) is there
