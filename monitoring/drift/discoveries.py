"""False-discovery control: of many features tested at once, which ones have drifted.

A q-value is the smallest rate of false discoveries at which the feature is among them. Benjamini and Hochberg
hold for independent and positively dependent tests, Benjamini and Yekutieli for any dependence and cost
power. With e-values (`by_evidence`) control holds for any dependence and at any stopping time.

Sources: Benjamini and Hochberg (1995); Benjamini and Yekutieli (2001); Wang and Ramdas, "False discovery rate
control with e-values" (2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

Dependence = Literal["positive", "any"]


def q_values(
    p_values: Sequence[float | None], dependence: Dependence = "positive"
) -> tuple[float | None, ...]:
    """Adjusted p-values, in the order given; None and NaN are no tests and stay None.

    Args:
        p_values: one for each feature.
        dependence: `positive` is Benjamini-Hochberg, `any` Benjamini-Yekutieli.
    """
    tested = [(p, place) for place, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    tested.sort(reverse=True)
    count = len(tested)
    price = sum(1 / k for k in range(1, count + 1)) if dependence == "any" else 1.0
    adjusted: list[float | None] = [None] * len(p_values)
    least = 1.0
    for back, (p, place) in enumerate(tested):
        least = min(least, p * price * count / (count - back))
        adjusted[place] = least
    return tuple(adjusted)


def by_evidence(log_evidence: Mapping[str, float], rate: float) -> tuple[str, ...]:
    """The features to call drifted from their e-values (e-BH), in descending order of evidence.

    Args:
        log_evidence: natural logarithm of each feature's e-value.
        rate: of false discoveries, at most.
    """
    ranked = sorted(log_evidence, key=lambda name: (-log_evidence[name], name))
    enough = [
        place
        for place, name in enumerate(ranked, start=1)
        if log_evidence[name] >= math.log(len(ranked) / (rate * place))
    ]
    return tuple(ranked[: enough[-1]]) if enough else ()
