"""A model's inputs laid out once, and columns in the arrangement that compiled models take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.manifest import Input, Manifest

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Arrays of the shape (rows, 1) by name: numbers, or texts as objects."""
Pick = Callable[[Any], tuple[Any, ...]]
"""Takes some values out of a row."""


class Layout:
    """What a model takes: which of its inputs are numbers and which are texts, each in the model's order.

    Made once per model, since making it takes as long as reading a request.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.inputs = manifest.inputs
        self.names = frozenset(names(self.inputs))
        self.numbers = tuple(item for item in self.inputs if item.type == "double")
        self.texts = tuple(item for item in self.inputs if item.type == "string")
        self.texts_required = any(item.required for item in self.texts)
        """Some text must not be empty."""
        self.number_type = np.dtype(manifest.number_type)
        self.limit = float(np.finfo(np.float32).max) ** 2 if self.number_type == np.float32 else np.inf
        """A sum of squares below it holds neither a missing number nor one too large for `number_type`."""
        self.by_name = picks(names(self.numbers)), picks(names(self.texts))
        """Take numbers and texts out of a row that is an object."""
        self.by_place = self.at(range(len(self.inputs)))
        """The same for a row that is a list in the model's order."""
        self._places = {item.name: place for place, item in enumerate(self.numbers)}
        self._text_places = {item.name: place for place, item in enumerate(self.texts)}

    def at(self, order: Sequence[int]) -> tuple[Pick, Pick]:
        """Take numbers and texts out of a list that has each input at its place in `order`."""
        kinds = [item.type for item in self.inputs]
        return (
            picks([place for place, kind in zip(order, kinds, strict=True) if kind == "double"]),
            picks([place for place, kind in zip(order, kinds, strict=True) if kind == "string"]),
        )

    def find(self, name: str) -> tuple[bool, int]:
        """Whether an input is a number, and its place among its like.

        Raises:
            KeyError: there is no such input.
        """
        place = self._places.get(name)
        return (True, place) if place is not None else (False, self._text_places[name])


@dataclass(frozen=True, slots=True, eq=False)
class Block(Columns):
    """Columns whose numbers lie side by side in one array, and whose texts lie in another."""

    layout: Layout
    numbers: Array
    """Rows by numeric inputs, in the model's precision; NaN is missing."""
    texts: Array
    """Rows by text inputs, as objects; "" is missing."""

    def __getitem__(self, name: str) -> Array:
        numeric, place = self.layout.find(name)
        return (self.numbers if numeric else self.texts)[:, place : place + 1]

    def __iter__(self) -> Iterator[str]:
        return (item.name for item in self.layout.inputs)

    def __len__(self) -> int:
        return len(self.layout.inputs)


def names(inputs: Sequence[Input]) -> tuple[str, ...]:
    """Their names."""
    return tuple(item.name for item in inputs)


def picks(keys: Sequence[Any]) -> Pick:
    """Takes the values at these keys out of a row."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda row: tuple(row[key] for key in keys)
