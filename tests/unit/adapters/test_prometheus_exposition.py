import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from seawall.adapters.prometheus import OPENMETRICS_TYPE, TEXT_TYPE, render
from seawall.core.errors import SeawallError
from seawall.core.instruments import Instrument, InstrumentKind, InstrumentRegistry, Sample

_REGISTRY = InstrumentRegistry()
_REQUESTS = _REGISTRY.counter("shop_requests_total", "Requests served.", ("pool",))
_ACTIVE = _REGISTRY.gauge("shop_active_requests", "Requests in flight.", ("pool",))
_LAG = _REGISTRY.gauge("shop_lag_seconds", "Lag behind.", unit="seconds")
_DURATION = _REGISTRY.histogram("shop_duration_seconds", "Time to serve.", ("pool",), buckets=(0.1, 1.0))

_SAMPLES = (
    Sample(_REQUESTS, ("a",), 3),
    Sample(_ACTIVE, ("a",), 2),
    Sample(_LAG, (), 0.25),
    Sample(_DURATION, ("a",), 4.5, (1, 0, 2)),
)


def _values(families):
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for f in families for sample in f.samples}


_EXPECTED = {
    ("shop_requests_total", (("pool", "a"),)): 3,
    ("shop_active_requests", (("pool", "a"),)): 2,
    ("shop_lag_seconds", ()): 0.25,
    ("shop_duration_seconds_bucket", (("le", "0.1"), ("pool", "a"))): 1,
    ("shop_duration_seconds_bucket", (("le", "1.0"), ("pool", "a"))): 1,
    ("shop_duration_seconds_bucket", (("le", "+Inf"), ("pool", "a"))): 3,
    ("shop_duration_seconds_count", (("pool", "a"),)): 3,
    ("shop_duration_seconds_sum", (("pool", "a"),)): 4.5,
}


def test_text_format_parses_to_the_values_given():
    content_type, body = render(_SAMPLES, _REGISTRY, "")
    assert content_type == TEXT_TYPE
    assert _values(parse_text(body.decode())) == _EXPECTED


def test_openmetrics_parses_to_the_values_given_with_units():
    content_type, body = render(_SAMPLES, _REGISTRY, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert content_type == OPENMETRICS_TYPE
    families = list(parse_openmetrics(body.decode()))
    assert _values(families) == _EXPECTED
    assert body.endswith(b"# EOF\n")


def test_an_instrument_without_series_is_still_declared():
    _, body = render((), _REGISTRY, "")
    assert b"# HELP shop_requests_total Requests served." in body
    assert b"# TYPE shop_duration_seconds histogram" in body


def test_a_gauge_that_does_not_end_in_its_unit_stays_valid_openmetrics():
    gauge = Instrument("queue_depth", InstrumentKind.GAUGE, "Depth.", (), "bytes")
    _, body = render((Sample(gauge, (), 7),), (gauge,), "application/openmetrics-text")
    assert _values(parse_openmetrics(body.decode())) == {("queue_depth", ()): 7}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT_TYPE),
        ("*/*", TEXT_TYPE),
        ("text/plain", TEXT_TYPE),
        ("application/openmetrics-text", OPENMETRICS_TYPE),
        (
            "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPENMETRICS_TYPE,
        ),
        ("application/openmetrics-text;q=0.2, text/plain", TEXT_TYPE),
        ("application/openmetrics-text;q=0", TEXT_TYPE),
        ("application/openmetrics-text;q=nonsense", TEXT_TYPE),
        ("application/openmetrics-text;version=nonsense", OPENMETRICS_TYPE),
    ],
)
def test_the_format_follows_the_accept_field(accept, expected):
    assert render((), _REGISTRY, accept)[0] == expected


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ((Sample(_REQUESTS, (), 1),), "takes labels"),
        ((Sample(_REQUESTS, ("a",), 1), Sample(_REQUESTS, ("a",), 2)), "two series"),
        ((Sample(_DURATION, ("a",), 1, (1, 2)),), "3 buckets"),
    ],
)
def test_a_series_that_does_not_fit_its_declaration_is_refused(samples, message):
    with pytest.raises(SeawallError, match=message):
        render(samples, _REGISTRY, "")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=30), st.integers(0, 2**53))
def test_any_label_and_count_survives_both_formats(label, count):
    sample = (Sample(_REQUESTS, (label,), count),)
    expected = {("shop_requests_total", (("pool", label),)): count}
    assert _values(parse_text(render(sample, _REGISTRY, "")[1].decode())) == expected
    assert _values(parse_openmetrics(render(sample, _REGISTRY, "application/openmetrics-text")[1].decode())) == expected
