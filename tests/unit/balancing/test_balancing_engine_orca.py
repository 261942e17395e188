"""What a server may say about its load, and what is not believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.balancing.orca import MAX_REPORT_BYTES, reported_utilisation


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"TEXT cpu_utilization=0.3", 0.3),
        (b"TEXT cpu_utilization=0.3, mem_utilization=0.8", 0.3),
        (b"TEXT mem_utilization=0.8,application_utilization=1.5 , cpu_utilization=0.1", 1.5),
        (b"TEXT named_metrics.queue=4, cpu_utilization = 0.5", 0.5),
        (b"TEXT application_utilization=nan, cpu_utilization=0.5", 0.5),
        (b'JSON {"cpu_utilization": 0.3, "named_metrics": {"x": 1}}', 0.3),
        (b'JSON {"applicationUtilization": 1, "cpuUtilization": 0.2}', 1.0),
        (b"TEXT cpu_utilization=0", 0.0),
    ],
)
def test_readable_reports(value, expected):
    assert reported_utilisation(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"cpu_utilization=0.3",
        b"TEXT",
        b"TEXT cpu_utilization",
        b"TEXT cpu_utilization=",
        b"TEXT cpu_utilization=fast",
        b"TEXT cpu_utilization=nan",
        b"TEXT cpu_utilization=inf",
        b"TEXT cpu_utilization=-0.1",
        b"TEXT cpu_utilization=101",
        b"TEXT mem_utilization=0.3",
        b"JSON",
        b"JSON [0.3]",
        b'JSON {"cpu_utilization": "0.3"}',
        b'JSON {"cpu_utilization": true}',
        b'JSON {"cpu_utilization": -1}',
        b'JSON {"cpu_utilization": 1e400}',
        b'JSON {"cpu_utilization": 1' + b"0" * 400 + b"}",
        b"JSON " + b"[" * 4000,
        b"BIN CAESBQ==",
        b"TEXT cpu_utilization=0.3," + b" " * MAX_REPORT_BYTES,
        b"\xff\xfe",
    ],
)
def test_what_is_not_believed(value):
    assert reported_utilisation(value) is None


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"TEXT ", b"JSON ", b"TEXT cpu_utilization=", b'JSON {"cpu_utilization":']),
)
def test_nothing_raises(tail, head):
    found = reported_utilisation(head + tail)
    assert found is None or 0.0 <= found <= 100.0
