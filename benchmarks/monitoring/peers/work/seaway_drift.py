"""Ours: the profile of the reference is kept as bytes; the window is profiled and analysed against it."""

from __future__ import annotations

import polars as pl
import scipy.special  # noqa: F401 - ours imports it where it needs it, the peers at their top
from timing import Timing, farthest

from monitoring import drift
from monitoring.profiles import Profile, scan


def main() -> None:
    timing = Timing()
    reference, current = (pl.read_parquet(timing.folder / f"{n}.parquet") for n in ("reference", "current"))
    with timing.part("reference"):
        made = scan.profile(reference)
        constraints, kept = drift.suggest(made), made.to_bytes()
    with timing.part("window"):
        found = drift.analyse(Profile.from_bytes(kept), constraints, scan.profile(current))
    far = {one.name: one.raw for one in found.details.features}
    timing.tell(farthest=farthest(far), alarms=sorted(o.name for o in found.details.features if o.drifted))


if __name__ == "__main__":
    main()
