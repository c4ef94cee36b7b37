"""The limits of the runtime API's headers, against the same in plain code."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from serving import contract
from serving.limits import INVOKE

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
values = st.one_of(
    st.text(max_size=80),
    st.text("aB3- _\t\x7fé", max_size=80),
    st.builds(lambda one, count: one * count, st.sampled_from("a-\t é"), st.integers(0, 1100)),
)


def allowed(header: str, value: str) -> bool:
    return re.fullmatch(INVOKE[header].pattern, value) is not None


@given(values)
def test_texts(value: str) -> None:
    plain = len(value) <= 1024 and all(char in PRINTABLE + "\t" for char in value)
    assert allowed("content-type", value) == allowed(contract.CUSTOM_ATTRIBUTES, value) == plain


@given(values)
def test_ids(value: str) -> None:
    for header, most in ((contract.INFERENCE_ID, 64), (contract.TARGET_MODEL, 1024)):
        printable = all(char in PRINTABLE for char in value)
        assert allowed(header, value) == (0 < len(value) <= most and printable and value[:1] != " ")


@given(values)
def test_sessions(value: str) -> None:
    ends = value[:1] in LETTERS and value[-1:] in LETTERS
    plain = 0 < len(value) <= 256 and ends and all(char in LETTERS + "-" for char in value)
    assert allowed(contract.SESSION_ID, value) == plain
    assert allowed(contract.SESSION_ID, "NEW_SESSION")


def test_no_pattern_repeats_more_than_re2_does() -> None:
    for limit in INVOKE.values():
        assert all(int(most) <= 1000 for most in re.findall(r"\{0,(\d+)\}", limit.pattern))
