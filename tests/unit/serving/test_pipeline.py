from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import BadBody, ManifestInvalid, ModelFailed, ServingError
from serving.loading import load
from serving.pipeline import stages
from serving.pipeline.responder import TIMINGS, PipelineResponder, merged
from serving.pipeline.stages import Stage
from serving.responder import Answer, Request


@dataclass
class Part:
    """A stage that adds its mark to what it gets."""

    mark: bytes
    kind: str = "text/x"
    seen: list[Request] = field(default_factory=list)
    error: Exception | None = None
    answer: Answer | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)

    def respond(self, request: Request) -> Answer:
        self.seen.append(request)
        if self.error:
            raise self.error
        return self.answer or Answer(200, request.body + self.mark, self.kind)

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        return self.parameters


def chain(*parts: Part, **options: object) -> PipelineResponder:
    return PipelineResponder([(f"s{n}", part) for n, part in enumerate(parts, 1)], **options)  # type: ignore[arg-type]


def test_each_answer_is_the_next_request() -> None:
    first, second, third = Part(b"1", "a/a"), Part(b"2", "b/b"), Part(b"3", "c/c")
    headers = {"content-type": "text/csv", "accept": "image/x", "content-length": "1", "x-own": "7"}
    answer = chain(first, second, third).respond(Request(b"0", "text/csv", "image/x", headers))
    assert (answer.status, answer.body, answer.content_type) == (200, b"0123", "c/c")
    assert [one.seen[0].content_type for one in (first, second, third)] == ["text/csv", "a/a", "b/b"]
    assert [one.seen[0].accept for one in (first, second, third)] == ["", "", "image/x"]
    assert second.seen[0].headers == {"x-own": "7", "content-type": "a/a"}
    assert third.seen[0].headers == {"x-own": "7", "content-type": "b/b", "accept": "image/x"}


def test_what_a_stage_is_asked_for_where_the_caller_s_accept_does_not_reach() -> None:
    first, second = Part(b""), Part(b"")
    served = chain(first, second, accepts={"s1": "text/csv", "s2": "a/b"})
    for accept in ("*/*", "", "x/y"):
        served.respond(Request(b"", "", accept))
    assert [one.accept for one in first.seen] == ["text/csv"] * 3
    assert [one.accept for one in second.seen] == ["a/b", "a/b", "x/y"]


def test_a_failure_ends_the_chain_and_names_the_stage() -> None:
    bad = BadBody("no such column", field="a", row=3)
    late = Part(b"")
    answer = chain(Part(b""), Part(b"", error=bad), late).respond(Request(b""))
    assert answer.status == 400
    assert json.loads(answer.body) == {"error": 'stage "s2" (2 of 3): no such column', "field": "a", "row": 3}
    assert not late.seen
    assert dict(answer.headers)["x-seaway-stage"] == "s2"
    assert [one.split(";")[0] for one in dict(answer.headers)[TIMINGS].split(", ")] == ["s1", "s2"]


@pytest.mark.parametrize(
    ("part", "status", "text"),
    [
        (Part(b"", error=ModelFailed("overflow")), 500, "overflow"),
        (Part(b"", error=KeyError("x")), 500, "KeyError: 'x'"),
        (Part(b"", answer=Answer(415, b'{"error": "no images"}', "application/json")), 415, "no images"),
        (Part(b"", answer=Answer(503, b"busy\n", "text/plain")), 503, "busy"),
        (Part(b"", answer=Answer(302)), 302, "it answered with status 302"),
        (Part(b"", answer=Answer(500, stream=iter([b"in ", b"parts"]))), 500, "in parts"),
    ],
)
def test_every_kind_of_failure(part: Part, status: int, text: str) -> None:
    served = chain(part, Part(b""))
    answer = served.respond(Request(b""))
    assert (answer.status, json.loads(answer.body)["error"]) == (status, f'stage "s1" (1 of 2): {text}')
    assert (served.counts["s1"].failures, served.counts["s2"].calls) == (1, 0)


def test_only_a_failure_names_a_stage_and_names_ours() -> None:
    inner = (("x-seaway-stage", "theirs"), ("x-own", "7"))
    failing = chain(Part(b"", answer=Answer(500, b"no", headers=inner)), Part(b"")).respond(Request(b""))
    assert [line for line in failing.headers if line[0] != TIMINGS] == [
        ("x-own", "7"),
        ("x-seaway-stage", "s1"),
    ]
    good = chain(Part(b""), Part(b"", answer=Answer(200, b"", headers=inner))).respond(Request(b""))
    assert "x-seaway-stage" not in dict(good.headers)


def test_too_much_from_one_stage_to_the_next() -> None:
    served = chain(Part(b"x" * 5), Part(b"y" * 100), hop_limit=5)
    assert served.respond(Request(b"")).body == b"xxxxx" + b"y" * 100
    answer = served.respond(Request(b"0"))
    assert answer.status == 413
    assert "SEAWAY_MAX_HOP_PAYLOAD_IN_MB" in json.loads(answer.body)["error"]


def test_an_endless_stream_is_left_when_it_is_too_long() -> None:
    closed = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"ab"
        finally:
            closed.append(True)

    answer = chain(Part(b"", answer=Answer(200, stream=endless())), Part(b""), hop_limit=5).respond(
        Request(b"")
    )
    assert (answer.status, closed) == (413, [True])


def test_streams_are_joined_between_stages_and_go_through_at_the_end() -> None:
    served = chain(
        Part(b"", answer=Answer(200, stream=iter([b"a", b"b"]))),
        Part(b"", answer=Answer(200, stream=iter([b"c"]))),
    )
    answer = served.respond(Request(b""))
    assert answer.stream is not None
    assert list(answer.stream) == [b"c"]
    second = Part(b"!")
    broken = Part(b"", answer=Answer(200, stream=(1 / 0 for _ in (b"",))))  # type: ignore[arg-type]
    assert chain(broken, second).respond(Request(b"")).status == 500
    chain(Part(b"", answer=Answer(200, stream=iter([b"a", b"b"]))), second).respond(Request(b""))
    assert second.seen[0].body == b"ab"


def test_timings_and_counters() -> None:
    ticks = iter([0, 0.0012, 1, 1.25, 2, 4.5, 5, 5])
    served = chain(
        Part(b""),
        Part(b"", answer=Answer(200, headers=((TIMINGS, "in;dur=1"), ("x-a", "b")))),
        clock=lambda: next(ticks),
    )
    answer = served.respond(Request(b""))
    assert answer.headers == (("x-a", "b"), (TIMINGS, "s1;dur=1.2, s2;dur=250"))
    served.respond(Request(b""))
    assert (served.counts["s1"].calls, served.counts["s1"].seconds) == (2, pytest.approx(2.5012))
    assert 'seaway_stage_calls_total{stage="s2"} 2\n' in served.metrics()


def test_execution_parameters_that_all_can_bear() -> None:
    first = {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    second = {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 25}
    expected = {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}
    assert merged([first, second]) == merged([second, first]) == merged([first, {}, second]) == expected
    assert chain(Part(b"", parameters=first), Part(b"")).execution_parameters == first


@given(
    st.lists(
        st.builds(
            Stage,
            st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,20}", fullmatch=True),
            folder=st.sampled_from(["stages/1", "a", "a/b c/ü"]),
            accept=st.sampled_from(["", "text/csv"]),
        )
        | st.builds(
            Stage,
            st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,20}", fullmatch=True),
            url=st.sampled_from(["http://127.0.0.1:8081", "http://pre:80/", "http://[::1]:9"]),
            timeout=st.none() | st.sampled_from([0.5, 60.0]),
        ),
        min_size=2,
        max_size=15,
        unique_by=lambda stage: stage.name,
    )
)
def test_what_is_written_is_read(found: list[Stage]) -> None:
    assert stages.parse(stages.write(found)) == tuple(found)


GOOD = {"name": "a", "folder": "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ({"format": 2, "stages": []}, "format"),
        ({"format": 1, "stages": [], "more": 1}, "unknown entry more"),
        ({"format": 1, "stages": {}}, "must be a list"),
        ({"format": 1, "stages": [GOOD]}, "2 to 15 stages, not 1"),
        ({"format": 1, "stages": [{"name": f"s{n}", "folder": "x"} for n in range(16)]}, "not 16"),
        ({"format": 1, "stages": [GOOD, GOOD]}, "called a"),
        ({"format": 1, "stages": [GOOD, 1]}, r"stages\[1\] must be an object"),
        ({"format": 1, "stages": [GOOD, {**GOOD, "name": "a b"}]}, r"stages\[1\]: name"),
        ({"format": 1, "stages": [GOOD, {**GOOD, "name": "b\n"}]}, r"stages\[1\]: name"),
        ({"format": 1, "stages": [GOOD, {"name": "b"}]}, "either folder or url"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "x", "url": "http://a:1"}]}, "either"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "../x"}]}, "below the pipeline"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "/x"}]}, "below the pipeline"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "url": "ftp://a:1"}]}, "url must look"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "url": "http://a:1/x"}]}, "url must look"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "url": "http://a:99999"}]}, "url must look"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "url": "http://u@a:1"}]}, "url must look"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "x", "timeout": 1}]}, "timeout"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "url": "http://a:1", "timeout": True}]}, "timeout"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "x", "accept": "a\nb"}]}, "accept"),
        ({"format": 1, "stages": [GOOD, {"name": "b", "folder": "x", "image": "i"}]}, "unknown entry image"),
        ({"format": 1, "stages": [GOOD, {"name": 1, "folder": "x"}]}, "name must be a text"),
    ],
)
def test_files_that_are_refused(content: object, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(ManifestInvalid, match=message):
        stages.parse(text.encode())


@pytest.fixture
def same_modules_after() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in (set(sys.modules) - modules) & {"inference", "shared"}:
        del sys.modules[name]


def script(folder: Path, code: str, **files: str) -> None:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text("def model_fn(folder): return folder\n" + code)
    for name, text in files.items():
        (folder / "code" / f"{name}.py").write_text(text)


@pytest.mark.usefixtures("same_modules_after")
def test_a_folder_of_scripts_with_modules_of_the_same_name(tmp_path: Path) -> None:
    code = "import os, shared\nWHERE = os.environ['SM_MODEL_DIR'][-1]\n"
    code += "def transform_fn(model, body, kind, accept): return body + shared.MARK + WHERE, 'text/csv'\n"
    script(tmp_path / "stages/1", code, shared="MARK = 'a'")
    script(tmp_path / "stages/2", code, shared="MARK = 'b'")
    listed = [Stage("one", "stages/1"), Stage("two", "stages/2")]
    (tmp_path / "pipeline.json").write_bytes(stages.write(listed))
    served = load(tmp_path, {"SAGEMAKER_SUBMIT_DIRECTORY": str(tmp_path / "stages/1/code")})
    assert isinstance(served, PipelineResponder)
    assert served.respond(Request(b"0", "text/csv")).body == b"0a1b2"


@pytest.mark.usefixtures("same_modules_after")
def test_stages_that_cannot_be_loaded(tmp_path: Path) -> None:
    listed = [Stage("one", "stages/1"), Stage("two", "stages/2")]
    (tmp_path / "pipeline.json").write_bytes(stages.write(listed))
    with pytest.raises(ManifestInvalid, match="no folder stages/1"):
        load(tmp_path, {})
    script(tmp_path / "stages/1", "")
    (tmp_path / "stages/2").mkdir()
    with pytest.raises(ServingError, match='stage "two": 2 is no model'):
        load(tmp_path, {})
    with pytest.raises(ServingError, match="SEAWAY_MAX_HOP_PAYLOAD_IN_MB"):
        script(tmp_path / "stages/2", "")
        load(tmp_path, {"SEAWAY_MAX_HOP_PAYLOAD_IN_MB": "much"})
