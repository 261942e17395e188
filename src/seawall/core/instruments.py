"""Instruments are declared once, typed, with unit and help; values stay plain integers until a scrape."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from seawall.core.errors import SeawallError

__all__ = ["DURATION_BUCKETS", "Instrument", "InstrumentKind", "InstrumentRegistry", "Sample"]

DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds for request durations; one more bucket holds what is above."""


class InstrumentKind(StrEnum):
    """How a metric's values behave."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Instrument(msgspec.Struct, frozen=True):
    """A metric's declaration.

    Attributes:
        name: full name in Prometheus form, unit included; counters end in `_total`.
        labels: label names in order; a sample gives its label values in the same order.
        unit: base unit (`seconds`, `bytes`), empty for a plain count.
        buckets: upper bounds of a histogram, ascending, without the infinite one.
    """

    name: str
    kind: InstrumentKind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()


class Sample(msgspec.Struct, frozen=True):
    """One series' value at the time of a scrape.

    Attributes:
        value: the counter's or gauge's value; for a histogram the sum of observations.
        counts: for a histogram the observations per bucket, not cumulative, the infinite bucket last.
    """

    instrument: Instrument
    labels: tuple[str, ...]
    value: float
    counts: Sequence[int] = ()


class InstrumentRegistry:
    """The list of what may be exported; a name can be declared once only."""

    def __init__(self) -> None:
        self._instruments: dict[str, Instrument] = {}

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._instruments.values())

    def counter(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Instrument:  # noqa: A002 - the field's word
        """Declare a monotonic count; the name must end in `_total`."""
        if not name.endswith("_total"):
            raise SeawallError(f"counter {name!r} must end in '_total'")
        return self._declare(Instrument(name, InstrumentKind.COUNTER, help, labels))

    def gauge(self, name: str, help: str, labels: tuple[str, ...] = (), *, unit: str = "") -> Instrument:  # noqa: A002
        """Declare a value that goes up and down."""
        return self._declare(Instrument(name, InstrumentKind.GAUGE, help, labels, unit))

    def histogram(
        self,
        name: str,
        help: str,  # noqa: A002
        labels: tuple[str, ...] = (),
        *,
        unit: str = "seconds",
        buckets: tuple[float, ...] = DURATION_BUCKETS,
    ) -> Instrument:
        """Declare a distribution; the name must end in its unit."""
        if unit and not name.endswith(f"_{unit}"):
            raise SeawallError(f"histogram {name!r} must end in its unit '_{unit}'")
        if list(buckets) != sorted(set(buckets)):
            raise SeawallError(f"buckets of {name!r} must ascend without repeats")
        return self._declare(Instrument(name, InstrumentKind.HISTOGRAM, help, labels, unit, buckets))

    def _declare(self, instrument: Instrument) -> Instrument:
        if instrument.name in self._instruments:
            raise SeawallError(f"instrument {instrument.name!r} is declared twice")
        self._instruments[instrument.name] = instrument
        return instrument
