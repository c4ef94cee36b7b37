"""Is the judge honest and awake? Simulated canaries, with the rules of popular tools beside it.

    python -m benchmarks.judge.honesty [--runs 2000] [--rps 10] [--seed 1]

Each run: both versions fail with 0.5 % (nothing is wrong) or the new one with more; 10 % of the traffic goes to
it, sixty one-minute looks. Printed: how often each rule rolls back, after how long, and how many requests the
new version had answered by then. Exit status 1 when the judge rolls back more than alpha of the identical
versions, or finds less than 95 % of threefold error rates.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from configs.rollout import Judge
from deploy.judge import Case, conclude, hear
from deploy.plan import Step
from deploy.rollout import Verdict
from monitoring.alarms import Sample

START = datetime(2026, 1, 1, tzinfo=UTC)
LOOKS = 60
SHARE = 0.1
STEP = Step(10, bake=timedelta(hours=1))
Rule = Callable[[list[tuple[int, int, int, int]]], int | None]
"""Minute counts (n_c, e_c, n_s, e_s) to the look at which it rolls back, or None."""


def binomial(rng: random.Random, n: int, p: float) -> int:
    return (
        rng.binomialvariate(n, p)
        if hasattr(rng, "binomialvariate")
        else sum(rng.random() < p for _ in range(n))
    )


def canary(rng: random.Random, rps: float, base: float, ratio: float) -> list[tuple[int, int, int, int]]:
    minutes = []
    for _ in range(LOOKS):
        total = round(rng.gauss(rps * 60, (rps * 60) ** 0.5))
        n_c = binomial(rng, max(total, 0), SHARE)
        n_s = max(total - n_c, 0)
        minutes.append((n_c, binomial(rng, n_c, min(1, base * ratio)), n_s, binomial(rng, n_s, base)))
    return minutes


def seaway(minutes: list[tuple[int, int, int, int]]) -> int | None:
    case, config = Case(), Judge()
    for look, (n_c, e_c, n_s, e_s) in enumerate(minutes):
        now = START + timedelta(minutes=look + 1)
        case = hear(case, config, Sample(now, n_c, 0, e_c), Sample(now, n_s, 0, e_s))
        if conclude(case, config, STEP, (), now).verdict is Verdict.FAIL:
            return look
    return None


def success_rate(minutes: list[tuple[int, int, int, int]]) -> int | None:
    """Argo's documented shape: success at least 99 % per minute, failureLimit 3."""
    bad = 0
    for look, (n_c, e_c, _, _) in enumerate(minutes):
        bad += bool(n_c and e_c / n_c > 0.01)
        if bad > 3:
            return look
    return None


def ten_failed_checks(minutes: list[tuple[int, int, int, int]]) -> int | None:
    """Flagger's documented shape: success at least 99 % per minute, threshold 10."""
    bad = 0
    for look, (n_c, e_c, _, _) in enumerate(minutes):
        bad += bool(n_c and e_c / n_c > 0.01)
        if bad >= 10:
            return look
    return None


def z_every_minute(minutes: list[tuple[int, int, int, int]]) -> int | None:
    """A two-proportion z test at 5 %, looked at every minute."""
    a = b = c = d = 0
    for look, (n_c, e_c, n_s, e_s) in enumerate(minutes):
        a, b, c, d = a + n_c, b + e_c, c + n_s, d + e_s
        if a and c and b + d:
            pooled = (b + d) / (a + c)
            error = (pooled * (1 - pooled) * (1 / a + 1 / c)) ** 0.5
            if error and (b / a - d / c) / error > 1.645:
                return look
    return None


RULES: dict[str, Rule] = {
    "seaway e-process, alpha 5 %": seaway,
    "success >= 99 %, failureLimit 3": success_rate,
    "success >= 99 %, threshold 10": ten_failed_checks,
    "z test every minute, 5 %": z_every_minute,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--rps", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shares = {}
    for ratio, title in ((1.0, "identical"), (3.0, "3x errors"), (10.0, "10x errors")):
        rng = random.Random(options.seed)
        runs = [canary(rng, options.rps, 0.005, ratio) for _ in range(options.runs)]
        print(
            f"\n{title}: error rate 0.5 % -> {0.5 * ratio:g} %, {options.rps:g} rps, 10 % canary, {options.runs} runs"
        )
        for name, rule in RULES.items():
            ends = [(run, rule(run)) for run in runs]
            found = [(run, look) for run, look in ends if look is not None]
            share = len(found) / len(runs)
            shares[title, name] = share
            minutes = statistics.median(look + 1 for _, look in found) if found else float("nan")
            exposed = (
                statistics.median(sum(m[0] for m in run[: look + 1]) for run, look in found) if found else 0
            )
            print(
                f"  {name:36} rolled back {share:6.1%}   median {minutes:5.1f} min, {exposed:6.0f} requests"
            )
    ours = "seaway e-process, alpha 5 %"
    return int(shares["identical", ours] > 0.05 or shares["3x errors", ours] < 0.95)


if __name__ == "__main__":
    sys.exit(main())
