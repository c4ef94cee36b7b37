"""Sample requests of a version, whatever its answers look like: what is sent, and what must come back.

They are kept with the version's evidence. The endpoint tests send them, and compare what comes back with what
the caller expects, or with what the version answered when it was registered.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.samples import SampleFile
from serving import contract, package
from steps.errors import Permanent

FILE = "samples.json"
"""Name among the evidence."""
_FORMAT = 1
_JSON = "application/json"
_ENDINGS = {
    ".json": _JSON,
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".jsonl": "application/jsonlines",
    ".npy": "application/x-npy",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
}
"""Content types by ending of the file."""


class SamplesRefused(Permanent):
    """The sample requests cannot be used; the message says what to change."""


class Differs(Exception):
    """An answer is not the expected one; the message says where."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, and what is known of its answer."""

    name: str
    body: bytes
    content_type: str = _JSON
    accept: str = ""
    """Empty when the model may choose."""
    target_model: str = ""
    """Key of one of many models; empty for a version that is one model."""
    answer: bytes | None = None
    """What must come back; None when anything may."""
    answer_type: str = ""
    """Content type of the answer; empty when it is not known yet."""
    deterministic: bool = True
    """The same request gets the same answer again."""

    @property
    def headers(self) -> dict[str, str]:
        """Header lines of the request."""
        lines = {"content-type": self.content_type, "accept": self.accept or "*/*"}
        return lines | ({contract.TARGET_MODEL: self.target_model} if self.target_model else {})


def load(asked: SampleFile) -> Sample:
    """A sample from its files.

    Raises:
        SamplesRefused: a file cannot be read.
    """
    request = Path(asked.request)
    try:
        body = request.read_bytes()
        answer = Path(asked.answer).read_bytes() if asked.answer else None
    except OSError as error:
        raise SamplesRefused(f"{error.filename} cannot be read ({error.strerror}); check its path") from error
    return Sample(
        name=asked.name or request.name,
        body=body,
        content_type=asked.content_type or _ENDINGS.get(request.suffix, "application/octet-stream"),
        accept=asked.accept,
        target_model=asked.target_model,
        answer=answer,
        deterministic=asked.deterministic,
    )


def choose(files: Sequence[SampleFile], own: Sequence[Sample], *, many: bool) -> tuple[Sample, ...]:
    """The samples that a version is registered with.

    Args:
        files: those asked for.
        own: those in the archive, taken when none are asked for.
        many: the archive holds many models, of which each request names one.

    Raises:
        SamplesRefused: there are none, one cannot be read, or they do not fit the archive.
    """
    asked = tuple(load(one) for one in files) or tuple(own)
    if not asked:
        raise SamplesRefused("the archive has no sample request; give one: --sample request.json")
    if wrong := [one.name for one in asked if bool(one.target_model) != many]:
        advice = "name the target model" if many else "there is one model: remove the target model"
        raise SamplesRefused(f"{advice} of sample {', '.join(wrong)}")
    names = [one.name for one in asked]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SamplesRefused(f"two samples are called {', '.join(twice)}; give each its own name")
    return asked


def write(samples: Sequence[Sample]) -> bytes:
    """The bytes of `samples.json`; equal samples give equal bytes."""
    items = [
        {
            "name": one.name,
            "content_type": one.content_type,
            "accept": one.accept,
            "target_model": one.target_model,
            "deterministic": one.deterministic,
            "request": _shown(one.body),
            "answer": None if one.answer is None else _shown(one.answer),
            "answer_type": one.answer_type,
        }
        for one in samples
    ]
    return (json.dumps({"format": _FORMAT, "samples": items}, indent=2, ensure_ascii=False) + "\n").encode()


def read(content: bytes) -> tuple[Sample, ...]:
    """Samples from the bytes of `samples.json`.

    Raises:
        SamplesRefused: they were not written by `write`.
    """
    try:
        found = json.loads(content)
        form, items = found["format"], [_sample(item) for item in found["samples"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SamplesRefused(f"{FILE} cannot be read ({error}); register the version again") from error
    if form != _FORMAT:
        raise SamplesRefused(f"{FILE} has format {form}, this version reads {_FORMAT}; register again")
    return tuple(items)


def recorded(folder: Path, key: str = "") -> Sample | None:
    """The sample that lies in an unpacked package, with its recorded answer; None when there is none.

    Args:
        folder: the unpacked package.
        key: of one of many models.

    Raises:
        SamplesRefused: the file cannot be used.
    """
    file = folder / package.SAMPLE
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
        request = found["request"]
        answer = found["answer"] if "answer" in found else {"predictions": found["predictions"]}
    except (ValueError, KeyError, TypeError) as error:
        raise SamplesRefused(
            f"{package.SAMPLE} of {key or 'the archive'} cannot be read ({error}); pack it again"
        ) from error
    body, expected = (json.dumps(value).encode() for value in (request, answer))
    return Sample(key or "recorded", body, _JSON, _JSON, key, expected, _JSON)


def difference(found: bytes, expected: bytes, content_type: str) -> float:
    """Largest difference of two numbers at the same place of two answers.

    JSON and CSV are compared by what they say, numbers as numbers; all else byte by byte.

    Raises:
        Differs: they differ in anything but numbers.
    """
    media = content_type.partition(";")[0].strip().lower()
    if found == expected:
        return 0.0
    try:
        if media in {"application/jsonlines", "application/x-ndjson"}:
            return _largest(_lines(found), _lines(expected))
        if media == _JSON or media.endswith("+json"):
            return _apart(json.loads(found), json.loads(expected), "the answer")
        if media == "text/csv":
            return _largest(_rows(found), _rows(expected))
    except (ValueError, OverflowError, csv.Error) as error:
        raise Differs(f"the answer cannot be read as {media}: {error}") from error
    raise Differs(f"{len(found)} bytes that are not the {len(expected)} expected")


def _shown(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _bytes(item: Mapping[str, str]) -> bytes:
    return item["text"].encode() if "text" in item else base64.b64decode(item["base64"], validate=True)


def _sample(item: Mapping[str, Any]) -> Sample:
    answer = item["answer"]
    return Sample(
        name=str(item["name"]),
        body=_bytes(item["request"]),
        content_type=str(item["content_type"]),
        accept=str(item["accept"]),
        target_model=str(item["target_model"]),
        answer=None if answer is None else _bytes(answer),
        answer_type=str(item["answer_type"]),
        deterministic=item["deterministic"] is True,
    )


def _lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines() if line.strip()]


def _rows(content: bytes) -> list[Any]:
    return [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(content.decode(), newline=""))]


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _largest(found: list[Any], expected: list[Any]) -> float:
    return _apart(found, expected, "row")


def _apart(found: Any, expected: Any, place: str) -> float:
    """How far two values are apart."""
    if _number(found) and _number(expected):
        same = found == expected or (math.isnan(found) and math.isnan(expected))
        return 0.0 if same else abs(float(found) - float(expected))
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() != expected.keys():
            raise Differs(f"{place}: keys {', '.join(sorted(found))}, expected {', '.join(sorted(expected))}")
        return _most(_apart(found[key], expected[key], f"{place}.{key}") for key in expected)
    if isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            raise Differs(f"{place}: {len(found)} values, expected {len(expected)}")
        return _most(_pairs(found, expected, place))
    if type(found) is not type(expected) or found != expected:
        raise Differs(f"{place}: {_short(found)}, expected {_short(expected)}")
    return 0.0


def _pairs(found: list[Any], expected: list[Any], place: str) -> Iterator[float]:
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        yield _apart(one, other, f"{place}[{number}]")


def _most(values: Iterable[float]) -> float:
    """The largest; not a number and infinite are the largest of all."""
    return max((math.inf if math.isnan(value) else value for value in values), default=0.0)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
