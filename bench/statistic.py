"""Medians, spread and ratios. Pure: numbers in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several rounds and how far they lay apart, in the unit of the values."""

    middle: float
    low: float
    high: float

    @property
    def percent(self) -> float:
        """Half the distance from lowest to highest, as a share of the median; 0 for one round."""
        return 100 * (self.high - self.low) / (2 * self.middle) if self.middle else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum of at least one value."""
    if not values:
        raise ValueError("no rounds were measured")
    return Spread(middle=median(values), low=min(values), high=max(values))


def ratio(value: float, reference: float) -> float | None:
    """How many times `reference` a value is; `None` when there is nothing to compare with."""
    return value / reference if reference > 0 else None
