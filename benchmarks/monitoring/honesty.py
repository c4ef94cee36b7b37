"""Is the drift alarm honest and awake? A thousand days of nothing, then shifts of known size, beside popular rules.

    python -m benchmarks.monitoring.honesty [--models 10] [--days 1000] [--rows 1000] [--baseline 10000] [--seed 1]

Each model has six columns of numbers, one with missing values, and two of categories, one with a rare one, and
a baseline that is a sample as well. Every day a window is profiled, analysed, its rows are scored by the
isolation forest and rebuilt from the components of the baseline, and it is added to the watch. Printed: of how many healthy models each rule
raises an alarm in all that time, on what share of the days, and after how many days it finds a shift of one
column. Exit status 1 when the watch raises alarms on more than alpha of the models (beyond chance), any check
of seaway on more than alpha of the days, or the watch misses a shift of half a standard deviation.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from monitoring.drift import components, constraints, forest, isolation, sequence
from monitoring.drift.analysis import DataQuality, analyse
from monitoring.drift.constraints import Constraints
from monitoring.drift.shares import Rule as Shares
from monitoring.findings import Finding
from monitoring.profiles import Profile, scan

ALPHA = 0.05
HEALTHY_DAYS = 30
"""Before a shift begins."""
PATIENCE = 120
"""Days after which a shift counts as missed."""
SEED = 7
Rule = Callable[[DataQuality], bool]
CHECKS = "seaway: any violation of the day"
WATCH = "seaway watch, alpha 5 % for ever"


def draw(rng: np.random.Generator, rows: int, shift: float) -> pl.DataFrame:
    numbers = {f"n{i}": rng.normal(shift if i == 0 else 0, 1, rows) for i in range(6)}
    numbers["n5"][rng.random(rows) < 0.02] = np.nan
    shares = {"c0": [0.5, 0.3, 0.15, 0.0499, 0.0001], "c1": [0.5, 0.3, 0.15, 0.05, 0.0]}
    texts = {name: rng.choice(list("abcde"), rows, p=p) for name, p in shares.items()}
    return pl.DataFrame({**numbers, **texts})


def profiled(frame: pl.DataFrame) -> Profile:
    return scan.profile(frame, threads=1)


def p_values(found: DataQuality) -> list[float]:
    return [one.p_value for one in found.features if one.p_value is not None]


RULES: dict[str, Rule] = {
    "Model Monitor: linf_robust > 0.1": lambda found: any(one.drifted for one in found.features),
    "PSI > 0.1 in any column": lambda found: any(one.others["psi"] > 0.1 for one in found.features),
    "KS / chi2 p < 0.05 in any column": lambda found: min(p_values(found)) < 0.05,
    "the same, Bonferroni over columns": lambda found: min(p_values(found)) < 0.05 / len(found.features),
    "seaway q-values <= 0.05 (one day)": lambda found: bool(found.discoveries),
    "Model Monitor: completeness, domains": lambda found: bool(found.shares),
    "seaway: the same beyond chance": lambda found: any(one.violated for one in found.shares),
    "seaway: rows by isolation forest": lambda found: bool(found.rows and found.rows.violated),
    "seaway: columns together": lambda found: bool(found.rebuilt and found.rebuilt.violated),
    CHECKS: lambda found: (
        any(one.violated for one in found.shares)
        or any(one.drifted for one in found.features)
        or bool(found.rows and found.rows.violated)
        or bool(found.rebuilt and found.rebuilt.violated)
    ),
}


def run(seed: int, options: argparse.Namespace, shift: float, days: int) -> dict[str, list[int]]:
    """Days, from 1, on which each rule raises an alarm."""
    rng = np.random.default_rng(seed)
    seen = draw(rng, options.baseline, 0)
    baseline = profiled(seen)
    whole = (forest.fit(seen, seen.columns, seed=SEED), components.fit(seen, seen.columns))
    rules: Constraints = constraints.suggest(baseline)
    reference = sequence.begin(baseline, alpha=ALPHA)
    watch, alarms = sequence.Watch(), {name: list[int]() for name in (WATCH, *RULES)}
    for day in range(1, days + 1):
        rows = draw(rng, options.rows, shift if day > HEALTHY_DAYS else 0)
        window = profiled(rows)
        found = judged(analyse(baseline, rules, window, rule=Shares(alpha=ALPHA / 2)), *whole, rows)
        watch = sequence.look(reference, watch, window)
        for name, rule in RULES.items():
            alarms[name] += [day] * rule(found)
        alarms[WATCH] += [day] * (watch.alarmed_at == day)
        if shift and all(any(day > HEALTHY_DAYS for day in each) for each in alarms.values()):
            break
    return alarms


def judged(
    finding: Finding, grown: forest.Forest, plane: components.Components, rows: pl.DataFrame
) -> DataQuality:
    """What is known of the columns, and of whole rows too."""
    strange, rebuilt = isolation.judge(grown, rows, ALPHA / 4), components.judge(plane, rows, ALPHA / 4)
    finding = isolation.told(finding, strange) if strange else finding
    details: DataQuality = (components.told(finding, rebuilt) if rebuilt else finding).details
    return details


def healthy(options: argparse.Namespace) -> bool:
    runs = [run(options.seed + i, options, 0, options.days) for i in range(options.models)]
    print(f"\nnothing drifts: {options.models} models, {options.days} days of {options.rows:,} rows each")
    for name in (WATCH, *RULES):
        ever = sum(bool(one[name]) for one in runs)
        days = sum(len(one[name]) for one in runs) / options.models / options.days
        print(f"  {name:36} alarms for {ever:3} of {options.models} models   on {days:6.2%} of the days")
    ever = sum(bool(one[WATCH]) for one in runs)
    days = sum(len(one[CHECKS]) for one in runs) / options.models / options.days
    return bool(days <= ALPHA and ever <= ALPHA * options.models + 2 * (ALPHA * options.models) ** 0.5)


def shifted(options: argparse.Namespace, shift: float) -> float:
    days = HEALTHY_DAYS + PATIENCE
    runs = [run(options.seed + 1000 + i, options, shift, days) for i in range(options.models)]
    print(f"\none column of eight shifts by {shift:g} standard deviations on day {HEALTHY_DAYS + 1}")
    for name in (WATCH, *RULES):
        waits = [_wait(one[name]) for one in runs]
        found = [wait for wait in waits if wait is not None]
        median = f"{statistics.median(found):5.1f} days" if found else "    never"
        early = sum(any(day <= HEALTHY_DAYS for day in one[name]) for one in runs)
        print(f"  {name:36} found {len(found):3} of {len(runs)}, median {median}   false before: {early}")
    return sum(_wait(one[WATCH]) is not None for one in runs) / len(runs)


def _wait(days: Sequence[int]) -> int | None:
    return next((day - HEALTHY_DAYS for day in days if day > HEALTHY_DAYS), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--baseline", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    honest = healthy(options)
    power = {shift: shifted(options, shift) for shift in (0.1, 0.2, 0.5)}
    return int(not honest or power[0.5] < 1)


if __name__ == "__main__":
    sys.exit(main())
