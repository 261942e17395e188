"""Exposition of plain integer counters in the two formats that a Prometheus-compatible scraper reads.

Recording through prometheus_client costs 0.5-2.3 us a call, too much on the request path; so engines count in plain
integers, and only a scrape turns them into prometheus_client's families, which know both formats' escaping and naming.
"""

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from seawall.core.errors import SeawallError
from seawall.core.instruments import Instrument, InstrumentKind, Sample

__all__ = ["OPENMETRICS_TYPE", "TEXT_TYPE", "render"]

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


def render(samples: Iterable[Sample], instruments: Iterable[Instrument], accept: str) -> tuple[str, bytes]:
    """Render one scrape.

    Every declared instrument appears with its help, also when it has no series yet, so that a dashboard or an alert on
    it is not silently about nothing.

    Args:
        samples: the series; one whose instrument is not declared is rendered too.
        instruments: the declared instruments, in the order of the page.
        accept: the scraper's `Accept` field; OpenMetrics 1.0.0 when it is preferred there, else text format 0.0.4.

    Returns:
        The content type and the body.

    Raises:
        SeawallError: a series does not fit its declaration (label count, bucket count) or appears twice.

    """
    collector = _Samples(samples, instruments)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    if _prefers_openmetrics(accept):
        return OPENMETRICS_TYPE, generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    return TEXT_TYPE, generate_text(registry)


class _Samples(Collector):
    """A collector over one scrape's samples; checked in full before anything is written."""

    def __init__(self, samples: Iterable[Sample], instruments: Iterable[Instrument]) -> None:
        self._families: dict[str, _Family] = {instrument.name: _family(instrument) for instrument in instruments}
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for sample in samples:
            instrument = sample.instrument
            series = (instrument.name, sample.labels)
            if series in seen:
                raise SeawallError(f"metric {instrument.name!r} has two series with the labels {sample.labels!r}")
            seen.add(series)
            family = self._families.get(instrument.name)
            if family is None:
                family = self._families[instrument.name] = _family(instrument)
            _add(family, sample)

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _family(instrument: Instrument) -> _Family:
    match instrument.kind:
        case InstrumentKind.COUNTER:
            return CounterMetricFamily(instrument.name, instrument.help, labels=instrument.labels)
        case InstrumentKind.GAUGE:
            # OpenMetrics wants a family's name to end in its unit; a gauge that does not is exported without one.
            unit = instrument.unit if instrument.name.endswith(f"_{instrument.unit}") else ""
            return GaugeMetricFamily(instrument.name, instrument.help, labels=instrument.labels, unit=unit)
        case InstrumentKind.HISTOGRAM:
            return HistogramMetricFamily(
                instrument.name, instrument.help, labels=instrument.labels, unit=instrument.unit
            )


def _add(family: _Family, sample: Sample) -> None:
    instrument = sample.instrument
    if len(sample.labels) != len(instrument.labels):
        raise SeawallError(
            f"metric {instrument.name!r} takes labels {instrument.labels!r}, a series gave {sample.labels!r}"
        )
    if isinstance(family, HistogramMetricFamily):
        bounds = (*instrument.buckets, math.inf)
        if len(sample.counts) != len(bounds):
            raise SeawallError(
                f"histogram {instrument.name!r} has {len(bounds)} buckets, a series gave {len(sample.counts)}"
            )
        running = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(bounds, sample.counts, strict=True):
            running += count
            buckets.append(("+Inf" if math.isinf(bound) else repr(float(bound)), float(running)))
        family.add_metric(sample.labels, buckets, sum_value=sample.value)
    else:
        family.add_metric(sample.labels, sample.value)


def _prefers_openmetrics(accept: str) -> bool:
    """Compare the two formats' weights in an Accept field (RFC 9110 section 12.5.1); a tie goes to OpenMetrics."""
    openmetrics = _quality(accept, "application/openmetrics-text")
    text = _quality(accept, "text/plain")
    return openmetrics > 0 and openmetrics >= text


def _quality(accept: str, media_type: str) -> float:
    best = 0.0
    for element in accept.split(","):
        name, *parameters = element.split(";")
        if name.strip().lower() != media_type:
            continue
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        best = max(best, weight)
    return best
