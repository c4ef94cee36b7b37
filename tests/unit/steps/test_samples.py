from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.load import ProjectError
from configs.samples import SampleFile, load_samples
from steps import samples
from steps.samples import Differs, Sample, SamplesRefused, difference

JSON = "application/json"
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.builds(
            Sample,
            name=st.text(),
            body=st.binary(),
            content_type=st.text(),
            accept=st.text(),
            target_model=st.text(),
            answer=st.none() | st.binary(),
            answer_type=st.text(),
            deterministic=st.booleans(),
        )
    )
)
def test_samples_read_back_as_they_were_written(listed: list[Sample]) -> None:
    assert samples.read(samples.write(listed)) == tuple(listed)


@given(VALUES)
def test_a_value_differs_from_itself_by_nothing(value: object) -> None:
    text = json.dumps(value)
    assert difference(text.encode(), json.dumps(json.loads(text), indent=1).encode(), JSON) == 0


@pytest.mark.parametrize(
    ("found", "expected", "kind", "apart"),
    [
        (b'{"a": [1, 2.5]}', b'{"a": [1.5, 2]}', "application/json; charset=utf-8", 0.5),
        (b'{"a": 1}', b'{"a": 1.25}', "application/vnd.late+json", 0.25),
        (b'{"a": 1}\n{"a": 2}\n', b'{"a": 1}\n\n{"a": 4}', "application/jsonlines", 2),
        (b"yes,0.5\r\n", b"yes,0.75\n", "text/csv", 0.25),
        (b"[NaN]", b"[1]", JSON, float("inf")),
    ],
)
def test_numbers_are_compared_as_numbers(found: bytes, expected: bytes, kind: str, apart: float) -> None:
    assert difference(found, expected, kind) == apart


@pytest.mark.parametrize(
    ("found", "expected", "kind", "said"),
    [
        (b'{"a": [true]}', b'{"a": [1]}', JSON, r"the answer.a\[0\]: true, expected 1"),
        (b'{"a": 1, "b": 2}', b'{"a": 1}', JSON, "keys a, b, expected a"),
        (b"[1]", b"[1, 2]", JSON, "1 values, expected 2"),
        (b"{", b"{}", JSON, "cannot be read as application/json"),
        (b"yes,1", b"no,1", "text/csv", r"row\[0\]\[0\]: \"yes\", expected \"no\""),
        (b"abc", b"ab", "application/x-any", "3 bytes that are not the 2 expected"),
    ],
)
def test_all_else_must_be_the_same(found: bytes, expected: bytes, kind: str, said: str) -> None:
    with pytest.raises(Differs, match=said):
        difference(found, expected, kind)


def test_a_file_that_is_none_is_refused() -> None:
    for content in (b"{", b"[]", b'{"format": 1, "samples": [{}]}', b'{"format": 2, "samples": []}'):
        with pytest.raises(SamplesRefused, match=r"samples\.json"):
            samples.read(content)


def test_what_a_package_recorded(tmp_path: Path) -> None:
    assert samples.recorded(tmp_path) is None
    kept = {"request": {"instances": [{"a": 1}]}, "predictions": [{"score": 0.5}]}
    (tmp_path / "sample.json").write_text(json.dumps(kept))
    found = samples.recorded(tmp_path, "team/up")
    assert found is not None
    assert (found.name, found.target_model, found.answer) == (
        "team/up",
        "team/up",
        b'{"predictions": [{"score": 0.5}]}',
    )
    (tmp_path / "sample.json").write_text(json.dumps({**kept, "answer": {"late": [True]}}))
    assert (found := samples.recorded(tmp_path)) is not None
    assert found.answer == b'{"late": [true]}'
    (tmp_path / "sample.json").write_text("{}")
    with pytest.raises(SamplesRefused, match="pack it again"):
        samples.recorded(tmp_path)


def test_a_samples_file(tmp_path: Path) -> None:
    (tmp_path / "ask.csv").write_text("1,2\n")
    file = tmp_path / "samples.yaml"
    file.write_text("- request: ask.csv\n  answer: out/answer.bin\n- request: /elsewhere/ask\n  name: far\n")
    near, far = load_samples(file)
    assert (near.answer, far.request) == (str(tmp_path / "out/answer.bin"), "/elsewhere/ask")
    with pytest.raises(SamplesRefused, match=r"answer\.bin cannot be read"):
        samples.load(near)
    found = samples.load(SampleFile(request=near.request))
    assert (found.name, found.content_type, found.body, found.answer) == (
        "ask.csv",
        "text/csv",
        b"1,2\n",
        None,
    )
    for text, said in (("- answer: x", "request"), ("[]", "at least 1"), ("{", "is not YAML")):
        file.write_text(text)
        with pytest.raises(ProjectError, match=said):
            load_samples(file)
    with pytest.raises(ProjectError, match="give a samples file"):
        load_samples(tmp_path / "none.yaml")


def test_samples_must_fit_the_archive(tmp_path: Path) -> None:
    (tmp_path / "ask.json").write_text("{}")
    file = SampleFile(request=str(tmp_path / "ask.json"))
    own = (Sample("own", b""),)
    assert samples.choose((), own, many=False) == own
    assert [one.name for one in samples.choose((file,), own, many=False)] == ["ask.json"]
    with pytest.raises(SamplesRefused, match="no sample request"):
        samples.choose((), (), many=True)
    with pytest.raises(SamplesRefused, match="name the target model of sample own"):
        samples.choose((), own, many=True)
    with pytest.raises(SamplesRefused, match="remove the target model of sample far"):
        samples.choose((), (Sample("far", b"", target_model="far"),), many=False)
    with pytest.raises(SamplesRefused, match="two samples are called ask.json"):
        samples.choose((file, file), (), many=False)
