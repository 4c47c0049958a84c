"""How often the rule of silent sources is wrong, and how soon it is right, on sources that are made up.

    python -m tests.alerting.silence_simulation [--sources 200] [--weeks 30] [--seed 1]

Sources speak by a week of their own (working hours, every day, or at all hours), at 1 to 1,000 a week; each day is
better or worse than its kind by a factor with a standard deviation of a fifth, so that they are rougher than the
Poisson of the rule.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import accumulate
from math import exp
from random import Random
from typing import NamedTuple

from alerting.silence import WEEK_HOURS, WEEKS, Source, silence

WARM_WEEKS = WEEKS + 1


class Found(NamedTuple):
    """What a run came to: source-weeks that were looked at, alarms that nothing had caused."""

    source_weeks: int
    false_alarms: int


def profile(kind: str) -> list[float]:
    """The share of each hour of a week that begins on Monday."""
    hours = [divmod(hour, 24) for hour in range(WEEK_HOURS)]
    weights = {
        "working hours": [1.0 if day < 5 and 9 <= hour < 17 else 0.0 for day, hour in hours],
        "every day": [1.0 if 8 <= hour < 22 else 0.1 for day, hour in hours],
        "all hours": [1.0 for _ in hours],
    }[kind]
    return [weight / sum(weights) for weight in weights]


def counts(random: Random, shares: Sequence[float], a_week: float, weeks: int, roughness: float = 0.2) -> list[int]:
    """What a source sends, hour by hour."""
    found = []
    for day in range(weeks * 7):
        factor = max(0.0, random.gauss(1.0, roughness))
        for hour in range(24):
            found.append(_poisson(random, factor * a_week * shares[(day * 24 + hour) % WEEK_HOURS]))
    return found


def alarms(told: Sequence[int], first_hour: int = WARM_WEEKS * WEEK_HOURS) -> list[int]:
    """Hours in which a silence begins to be seen."""
    sums = [0, *accumulate(told)]
    source = _Summed(sums)
    found, silent = [], False
    for hour in range(first_hour, len(told) + 1):
        now = silence(source, hour, lambda _: False) is not None
        if now and not silent:
            found.append(hour)
        silent = now
    return found


class _Summed(Source):
    """The same counts, added up before."""

    def __init__(self, sums: Sequence[int]) -> None:
        super().__init__({}, 0)
        self.sums = sums

    def within(self, end: int, hours: int) -> int:
        return self.sums[end] - self.sums[end - hours]


def wrong(sources: int, weeks: int, seed: int) -> Found:
    """Sources to which nothing happens."""
    random, total = Random(seed), 0
    for _ in range(sources):
        shares = profile(random.choice(["working hours", "every day", "all hours"]))
        total += len(alarms(counts(random, shares, 10 ** random.uniform(0, 3), weeks + WARM_WEEKS)))
    return Found(sources * weeks, total)


def _poisson(random: Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(random.gauss(mean, mean**0.5)))
    limit, count, product = exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


def main() -> None:
    """Print what was measured."""
    chosen = argparse.ArgumentParser(description=__doc__)
    for name, default in (("sources", 200), ("weeks", 30), ("seed", 1)):
        chosen.add_argument(f"--{name}", type=int, default=default)
    said = chosen.parse_args()
    found = wrong(said.sources, said.weeks, said.seed)
    years = found.source_weeks / 52
    print(f"{found.false_alarms} false alarms in {found.source_weeks} source-weeks: "
          f"{found.false_alarms / years:.4f} a source and year")  # fmt: skip


if __name__ == "__main__":
    main()
