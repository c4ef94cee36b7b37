"""Count, mean, spread and range of numbers, mergeable by Chan's formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_WIDE = 1e150
"""Beyond it squares overflow, and sums are taken of scaled values."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What is known of `n` finite numbers; without any, the range is (inf, -inf) and the mean 0."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    """Sum of squared differences from the mean."""
    minimum: float = math.inf
    maximum: float = -math.inf
    rest: float = 0.0
    """What `mean`, being rounded, lacks to the mean; without it spreads of large numbers lose digits."""

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """Moments of the finite ones among `values`."""
        import numpy as np

        given = np.asarray(values, dtype=np.float64).ravel()
        return cls.of_finite(given[np.isfinite(given)])

    @classmethod
    def of_finite(cls, values: NDArray[Any]) -> Moments:
        """As `of`, for float64 values that are known to be finite."""
        if not values.size:
            return cls()
        low, high = float(values.min()), float(values.max())
        scale = max(abs(low), abs(high))
        if scale > _WIDE:
            import numpy as np

            scaled = cls.of_finite(values / scale)
            with np.errstate(over="ignore"):
                m2 = float(np.float64(scaled.m2) * scale * scale)
            return cls(scaled.n, scaled.mean * scale, m2, low, high, scaled.rest * scale)
        n, middle = int(values.size), float(values.mean())
        apart = values - middle
        drift = float(apart.sum())
        m2 = 0.0 if low == high else max(0.0, float((apart * apart).sum()) - drift * drift / n)
        mean, rest = _sum(middle, drift / n)
        return cls(n, mean, m2, low, high, rest)

    @property
    def sum(self) -> float:
        """Sum of the numbers."""
        return self.mean * self.n

    @property
    def std_dev(self) -> float:
        """Standard deviation of the population, divided by n; 0 without numbers."""
        return math.sqrt(self.m2 / self.n) if self.n else 0.0

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets together."""
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        apart = (other.mean - self.mean) + (other.rest - self.rest)
        mean, rest = _sum(self.mean, apart * (other.n / n) + self.rest)
        return Moments(
            n=n,
            mean=mean,
            m2=self.m2 + other.m2 + apart * apart * (self.n / n) * other.n,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            rest=rest,
        )


def _sum(large: float, small: float) -> tuple[float, float]:
    """The rounded sum, and what rounding took from it."""
    rounded = large + small
    return rounded, (large - rounded) + small
