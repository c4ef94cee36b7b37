"""Which loaded models stay in memory: least recently used ones leave when a budget is exceeded.

A value that decides; loading and unloading is `serving.multimodel`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ledger:
    """What each loaded model costs, least recently used first.

    Pinned models were loaded by name; only whoever did so takes them away.
    """

    budget: int
    """Bytes that all loaded models may take together."""
    _costs: dict[str, int] = field(default_factory=dict)
    _pinned: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._costs))

    def __len__(self) -> int:
        return len(self._costs)

    def __contains__(self, name: str) -> bool:
        return name in self._costs

    @property
    def used(self) -> int:
        """Bytes of all loaded models."""
        return sum(self._costs.values())

    def touch(self, name: str) -> None:
        """Note that a loaded model is used now."""
        self._costs[name] = self._costs.pop(name)

    def add(self, name: str, cost: int, *, pinned: bool = False) -> None:
        """Note a loaded model, used now."""
        self.remove(name)
        self._costs[name] = cost
        if pinned:
            self._pinned.add(name)

    def remove(self, name: str) -> None:
        """Note that a model is not loaded any more."""
        self._costs.pop(name, None)
        self._pinned.discard(name)

    def leaving(self, cost: int, *, beside: str = "") -> tuple[str, ...] | None:
        """The models that must leave so that `cost` more bytes fit, least recently used first.

        `beside` stays in any case. None when they do not fit even then.
        """
        missing = self.used + cost - self.budget
        found: list[str] = []
        for name, size in self._costs.items():
            if missing <= 0:
                break
            if name != beside and name not in self._pinned:
                found.append(name)
                missing -= size
        return tuple(found) if missing <= 0 else None
