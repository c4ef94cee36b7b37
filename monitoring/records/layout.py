"""What is known about a model's requests and answers before the first one is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from serving.manifest import Label, Manifest

Task = Literal["binary", "multiclass", "regression"]
Handler = Callable[..., Any]
"""A project's `preprocess_handler`: an inference record in, rows out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, types and meanings; all of it may be left out, and is then read off the traffic."""

    inputs: tuple[tuple[str, Literal["double", "string"]], ...] = ()
    """Name and type of the model's inputs in its order, for rows that come without names."""
    task: Task | None = None
    classes: tuple[Label, ...] = ()
    """In the order of the model's scores; for a binary model the second is the positive one."""
    threshold: float = 0.5
    """Binary: a score above it means the positive class, where an answer names no label."""
    predicted: str = ""
    """Where somebody else's answer has the predicted label: a dotted name, or the number of a column."""
    score: str = ""
    """The same for the probability or probabilities."""
    header: bool | None = None
    """Whether CSV requests begin with a line of names; None finds out by the inputs' names."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(name for name, _ in self.inputs)


def layout_of(manifest: Manifest, *, threshold: float = 0.5) -> Layout:
    """The layout of a package's model."""
    return Layout(
        inputs=tuple((one.name, one.type) for one in manifest.inputs),
        task=manifest.task,
        classes=manifest.classes or (),
        threshold=threshold,
    )


class Unreadable(ValueError):
    """A payload is not what it says it is; the message is one reason of few words, for counting."""
