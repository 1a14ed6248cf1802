"""Whether one latency is longer than another, or only measured so."""

from math import comb
from typing import NamedTuple

import numpy as np

from parity.schema import Measurement

CONFIDENCE = 0.95
"""How often the interval of a ratio encloses its median."""

ALIKE = 0.03
"""A ratio nearer to 1 is called no difference, whatever its interval. It is a margin, not a bound:
of 84 pairs of processes that ran one file in turns on a busy machine, ratios were off by 2 to 14 %
in the median of their groups, and the interval left 1 out in one pair."""


class Ratio(NamedTuple):
    """A time divided by another, with the interval that it lies in."""

    value: float
    low: float
    high: float

    @property
    def longer(self) -> bool:
        """Whether the time is longer by more than the measurement can be off."""
        return self.low > 1 and self.value > 1 + ALIKE

    @property
    def shorter(self) -> bool:
        """Whether the time is shorter by more than the measurement can be off."""
        return self.high < 1 and self.value < 1 / (1 + ALIKE)

    @property
    def alike(self) -> bool:
        """Whether neither is."""
        return not self.longer and not self.shorter


def ratio(own: Measurement, other: Measurement) -> Ratio | None:
    """How many times as long ``own`` takes as ``other``; None where a time is 0.

    Where both took turns, the median of the ratios of their rounds, which a drift of the machine
    does not touch. Else (a report merged from several machines, or of an older version) the ratio
    of the medians, which is uncertain as far as the 90th percentiles lie above the medians.
    """
    mine, others = own.timing, other.timing
    if not mine.median_s or not others.median_s:
        return None
    paired = (
        mine.batch is not None
        and mine.batch == others.batch
        and len(mine.rounds_s) == len(others.rounds_s)
        and len(mine.rounds_s) > 1
        and all(others.rounds_s)
    )
    if paired:
        ratios = np.array(mine.rounds_s) / np.array(others.rounds_s)
        return Ratio(float(np.median(ratios)), *median_interval(ratios))
    value = mine.median_s / others.median_s
    low, high = mine.median_s / max(others.p90_s, 1e-12), mine.p90_s / others.median_s
    return Ratio(value, low, high)


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Two of the values that enclose the median of what they are drawn from, with CONFIDENCE.

    The interval of order statistics: of n values, the number below the median is binomial with
    probability a half (Conover, Practical Nonparametric Statistics). It supposes no distribution.
    With fewer than six values even the least and the largest are less certain; they are returned.
    """
    ordered = np.sort(values)
    count = len(ordered)
    place, outside = 0, 2 * 0.5**count
    # One place further in, as long as the median is still outside rarely enough.
    while place + 1 < count / 2:
        outside += 2 * comb(count, place + 1) * 0.5**count
        if outside > 1 - CONFIDENCE:
            break
        place += 1
    return float(ordered[place]), float(ordered[count - 1 - place])
