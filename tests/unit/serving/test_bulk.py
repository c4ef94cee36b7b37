"""Large CSV bodies, read column by column, give what the careful reader gives: columns, or its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import codecs
from serving.codecs import bulk
from serving.codecs import csv as csv_codec
from serving.codecs.columns import MOST_VALUES
from serving.errors import BadBody, PayloadTooLarge
from serving.manifest import Input
from tests.fakes.model import INPUTS, manifest
from tests.unit.serving.test_plain_rows import outcome

NUMBERS = (Input("a", "double", required=True), Input("b", "double"))
ONE = (Input("a", "double"),)
TEXT = (Input("t", "string"),)
LAYOUTS = [codecs.Layout(manifest(inputs=inputs)) for inputs in (INPUTS, NUMBERS, ONE, TEXT)]
ODD = "1 -0 -0.0 0 1.5 -2.25e3 1E-5 01 .5 5. +1 1_0 nan NaN inf 1e400 1e39 18446744073709551616 null true [1] 1-2 ٣ x 1e"
FIGURES = st.sampled_from([*ODD.split(), "", " ", " 7 ", '"1"', '"1,2"', '"1\n2"', '""', '1"', '"1" '])
WORDS = st.sampled_from(
    ["UA", "ü", "", '"a,b"', '"a""b"', 'a"b', '"a\r\nb"', '"open', "1", "a\rb", "\0", "_"]
)
USUAL = st.floats(-1e6, 1e6, allow_nan=False).map(str) | st.integers(-(10**6), 10**6).map(str)
ENDS = st.sampled_from(["\n"] * 12 + ["\r\n", "\r\n", "\r", "\n\n", ",\n", ""])


@contextmanager
def reading(*, size: int, at_least: int) -> Iterator[None]:
    with patch.object(bulk, "SLICE", size), patch.object(csv_codec, "BULK", at_least):
        yield


def same_both_ways(body: bytes, layout: codecs.Layout, size: int = 64) -> None:
    with reading(size=size, at_least=0):
        quick = outcome(lambda: codecs.read(body, codecs.CSV, layout, 200))
    with reading(size=size, at_least=MOST_VALUES):
        assert quick == outcome(lambda: codecs.read(body, codecs.CSV, layout, 200))


@given(st.data())
def test_lines_of_any_kind(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    names = [item.name for item in layout.inputs]
    kinds = {item.name: FIGURES | USUAL | USUAL if item.type == "double" else WORDS for item in layout.inputs}
    lines = []
    if data.draw(st.booleans()):
        names = data.draw(
            st.permutations([*names, *data.draw(st.sampled_from([[], ["z"], ["z", "z"], [""]]))])
        )
        names = names[: data.draw(st.sampled_from([len(names), len(names), max(1, len(names) - 1)]))]
        lines.append(",".join(names))
    rows = data.draw(st.lists(st.tuples(*(kinds.get(name, USUAL) for name in names)), max_size=9))
    lines += [",".join(row) for row in rows]
    start = data.draw(st.sampled_from(["", "", "\ufeff", "\n", "\r\n"]))
    text = start + "".join(line + data.draw(ENDS) for line in lines)
    same_both_ways(text.encode(), layout, data.draw(st.integers(8, 80)))


@given(st.text(st.sampled_from('1.-e,,\n\n\r"x '), max_size=40), st.sampled_from(LAYOUTS), st.integers(1, 20))
def test_any_text(text: str, layout: codecs.Layout, size: int) -> None:
    same_both_ways(text.encode(), layout, size)


@given(st.binary(max_size=60), st.sampled_from(LAYOUTS))
def test_any_bytes(body: bytes, layout: codecs.Layout) -> None:
    same_both_ways(body, layout)


@given(st.lists(st.tuples(st.floats(-1e30, 1e30), st.none() | st.floats(-1e30, 1e30)), min_size=1))
def test_numbers_are_read_exactly(rows: list[tuple[float, float | None]]) -> None:
    layout = codecs.Layout(manifest(inputs=NUMBERS))
    body = "".join(f"{a!r},{'' if b is None else repr(b)}\n" for a, b in rows).encode()
    with reading(size=100, at_least=0):
        found = codecs.read(body, codecs.CSV, layout)
    assert isinstance(found, codecs.Block)
    expected = np.array([[a, np.nan if b is None else b] for a, b in rows], np.float32)
    np.testing.assert_array_equal(found.numbers, expected)
    assert found.numbers.flags.c_contiguous


@pytest.mark.parametrize("line", ["1.5,7,UA", '"1.5","7","UA"', "1.5,7,UA\r"])
@pytest.mark.parametrize("header", ["", "carrier,x,x,hour,delay\n"])
def test_the_quick_way_is_taken(line: str, header: str) -> None:
    if header:
        line = f"UA,,,7,{line[:3]}" if line[0] == "1" else '"UA","","",7,"1.5"'
    body = (header + f"{line}\n" * 10_000).encode()
    with patch.object(csv_codec, "_carefully", side_effect=AssertionError):
        columns = codecs.read(body, codecs.CSV, LAYOUTS[0])
    assert columns["delay"].shape == (10_000, 1)
    assert (columns["delay"] == 1.5).all()
    assert (columns["hour"] == 7).all()
    assert (columns["carrier"] == "UA").all()


def test_mistakes_far_down_are_named() -> None:
    lines = ["1.5,7,UA"] * 20_000
    lines[15_000] = "1.5,seven,UA"
    with pytest.raises(BadBody, match="'hour' in row 15000 must be a number, not 'seven'") as caught:
        codecs.read("\n".join(lines).encode(), codecs.CSV, LAYOUTS[0])
    assert (caught.value.field, caught.value.row) == ("hour", 15_000)
    with pytest.raises(PayloadTooLarge, match="5000 rows of 3 inputs"):
        codecs.read(b"1.5,7,UA\n" * 5000, codecs.CSV, LAYOUTS[0], 14_999)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"1\n2\n\n", [1, 2]),
        (b"\n1\r\n2\r\n\r\n", [1, 2]),
        (b"a\n1\n2\n\n\n", [1, 2]),
        (b"\n\na\n1\n", [1]),
        (b"1\n\n2\n", [1, np.nan, 2]),
        (b'1\n""\n', [1, np.nan]),
    ],
)
@pytest.mark.parametrize("at_least", [0, MOST_VALUES])
def test_empty_lines_of_a_single_column(body: bytes, expected: list[float], at_least: int) -> None:
    with reading(size=64, at_least=at_least):
        found = codecs.read(body, codecs.CSV, LAYOUTS[2])["a"]
    np.testing.assert_array_equal(found[:, 0], expected)
