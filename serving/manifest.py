"""The manifest: one frozen value that says what a package holds and how to call its model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast, get_args

from serving.errors import ManifestInvalid

Kind = Literal["double", "string"]
Task = Literal["binary", "multiclass", "regression"]
Runtime = Literal["onnx", "skops", "pickle", "pipeline"]
"""What runs the model; a pipeline's stages say so themselves."""
Quantised = Literal["float16", "int8"]
Label = str | int | float | bool

FORMAT = 1
"""The layout this version writes and reads. Entries added since are absent where they say nothing, and a
reader that does not know one refuses it by name: nothing is ever misread."""


@dataclass(frozen=True, slots=True)
class Input:
    """One column the model sees."""

    name: str
    type: Kind
    required: bool = False
    """True when the training data had no missing value in it; a request must not either."""


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """How closely the compiled model follows the trained one."""

    rows: int
    """Real rows compared."""
    max_abs_difference: float | None
    """Largest difference of scores; None when nothing could be compared."""
    passed: bool
    """The compiled model answers closely enough."""
    reason: str | None = None
    """Why the compiled model is not served."""
    rank_agreement: float | None = None
    """Share of pairs of rows that both models order alike; for multiclass the share of equal labels."""


@dataclass(frozen=True, slots=True)
class QuantisationRecord:
    """What became of the wish for smaller weights."""

    mode: Quantised
    """What the project asks for."""
    applied: bool
    """The compiled model in the package has such weights."""
    reason: str | None = None
    """Why it has not."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`seaway.json` of a package."""

    model: str
    task: Task
    runtime: Runtime
    classes: tuple[Label, ...] | None
    """Labels in the order of the model's scores; None for regression."""
    inputs: tuple[Input, ...]
    """In the order the model takes them."""
    parity: ParityRecord
    trusted_types: tuple[str, ...] = ()
    """Types beyond skops' own list that loading `model.skops` may construct."""
    dependencies: tuple[str, ...] = ()
    """Exact requirements of everything in the package, `name==version`."""
    provenance: tuple[tuple[str, str], ...] = ()
    """Where the model comes from, as sorted pairs: `data_digest`, `project`, `code_digest`."""
    allow_pickle: bool = False
    """The owner of the project permits pickle for this model."""
    trained_from: int | None = None
    """Batches of at least this many rows are answered by the trained model; None means never."""
    quantisation: QuantisationRecord | None = None
    """None when nobody asked for it."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read `seaway.json`.

        Raises:
            ManifestInvalid: an entry is missing, unknown or has the wrong type; the message names it.
        """
        try:
            payload = json.loads(text)
        except ValueError as error:
            raise ManifestInvalid(f"seaway.json is not JSON: {error}") from error
        return cls._from_payload(_Reader(payload, "seaway.json"))

    @classmethod
    def _from_payload(cls, reader: _Reader) -> Self:
        if (version := reader.take("format", int)) != FORMAT:
            raise ManifestInvalid(f"seaway.json has format {version}, but this version reads format {FORMAT}")
        classes = reader.take("classes", list, type(None))
        manifest = cls(
            model=reader.take("model", str),
            task=reader.choose("task", get_args(Task)),
            runtime=reader.choose("runtime", get_args(Runtime)),
            classes=None if classes is None else tuple(classes),
            inputs=tuple(_input(item, n) for n, item in enumerate(reader.take("inputs", list))),
            parity=_parity(reader.take("parity", dict)),
            trusted_types=reader.strings("trusted_types"),
            dependencies=reader.strings("dependencies"),
            provenance=_pairs(reader.take("provenance", dict)),
            allow_pickle=reader.take("allow_pickle", bool, default=False),
            trained_from=reader.take("trained_from", int, type(None), default=None),
            quantisation=_quantisation(reader.take("quantisation", dict, type(None), default=None)),
        )
        reader.finish()
        manifest._check()
        return manifest

    def to_json(self) -> bytes:
        """The bytes of `seaway.json`; equal manifests give equal bytes."""
        payload = {"format": FORMAT, **asdict(self), "provenance": dict(self.provenance)}
        for name in ("allow_pickle", "trained_from", "quantisation"):
            if not payload[name]:
                del payload[name]
        if self.parity.rank_agreement is None:
            del payload["parity"]["rank_agreement"]
        return (json.dumps(payload, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()

    @property
    def number_type(self) -> Literal["float32", "float64"]:
        """NumPy type of `double` columns: a compiled model alone takes single precision."""
        return "float32" if self.runtime == "onnx" and self.trained_from is None else "float64"

    def _check(self) -> None:
        names = [item.name for item in self.inputs]
        if not names or len(set(names)) != len(names):
            raise ManifestInvalid("seaway.json: inputs must have at least one entry and distinct names")
        if self.trained_from is not None and (self.trained_from < 1 or self.runtime != "onnx"):
            raise ManifestInvalid("seaway.json: trained_from must be at least 1, and only with runtime onnx")
        if self.task == "regression":
            if self.classes is not None:
                raise ManifestInvalid("seaway.json: classes must be null for regression")
            return
        fits = self.classes is not None and len(self.classes) >= 2
        if not fits or (self.task == "binary" and len(self.classes or ()) != 2):
            raise ManifestInvalid(f"seaway.json: classes has the wrong length for a {self.task} model")
        if not all(isinstance(label, str | int | float | bool) for label in self.classes or ()):
            raise ManifestInvalid("seaway.json: classes must be texts, numbers or booleans")


class _Reader:
    """Takes entries out of a JSON object, with their types, and minds what is left over."""

    def __init__(self, payload: object, place: str) -> None:
        if not isinstance(payload, dict):
            raise ManifestInvalid(f"{place} must be a JSON object")
        self._left = dict(payload)
        self._place = place

    def take(self, name: str, *types: type, default: object = ...) -> Any:
        value = self._left.pop(name, default)
        if value is ...:
            raise ManifestInvalid(f"{self._place}: {name} is missing")
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(kind.__name__ for kind in types)
            raise ManifestInvalid(f"{self._place}: {name} must be of type {wanted}")
        return value

    def choose(self, name: str, options: tuple[str, ...]) -> Any:
        if (value := self.take(name, str)) not in options:
            raise ManifestInvalid(
                f"{self._place}: {name} is {value!r}, but must be one of {', '.join(options)}"
            )
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise ManifestInvalid(f"{self._place}: {name} must hold texts only")
        return tuple(values)

    def finish(self) -> None:
        if self._left:
            raise ManifestInvalid(f"{self._place}: unknown entry {', '.join(sorted(map(str, self._left)))}")


def _input(item: object, position: int) -> Input:
    reader = _Reader(item, f"seaway.json: inputs[{position}]")
    name, kind = reader.take("name", str), reader.choose("type", get_args(Kind))
    value = Input(name, cast("Kind", kind), reader.take("required", bool))
    reader.finish()
    return value


def _parity(item: Mapping[str, object]) -> ParityRecord:
    reader = _Reader(item, "seaway.json: parity")
    difference = reader.take("max_abs_difference", int, float, type(None))
    if difference is not None and not math.isfinite(difference):
        raise ManifestInvalid("seaway.json: parity.max_abs_difference must be finite")
    agreement = reader.take("rank_agreement", int, float, type(None), default=None)
    if agreement is not None and not 0 <= agreement <= 1:
        raise ManifestInvalid("seaway.json: parity.rank_agreement must lie between 0 and 1")
    rows, passed = reader.take("rows", int), reader.take("passed", bool)
    record = ParityRecord(rows, difference, passed, reader.take("reason", str, type(None)), agreement)
    reader.finish()
    return record


def _quantisation(item: Mapping[str, object] | None) -> QuantisationRecord | None:
    if item is None:
        return None
    reader = _Reader(item, "seaway.json: quantisation")
    mode = cast("Quantised", reader.choose("mode", get_args(Quantised)))
    record = QuantisationRecord(mode, reader.take("applied", bool), reader.take("reason", str, type(None)))
    reader.finish()
    return record


def _pairs(item: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    if not all(isinstance(value, str) for value in item.values()):
        raise ManifestInvalid("seaway.json: provenance must hold texts only")
    return tuple(sorted((key, cast("str", value)) for key, value in item.items()))
