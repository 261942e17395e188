"""Server-reported load: the ORCA `endpoint-load-metrics` response header."""

import math

import msgspec

__all__ = ["MAX_REPORT_BYTES", "reported_utilisation"]

MAX_REPORT_BYTES = 4096
"""A longer header is not read: it is a handful of numbers by design."""
_MAX_UTILISATION = 100.0
_NAMES = ("application_utilization", "cpu_utilization")
"""In order of preference, as gRPC's weighted round-robin does (gRFC A64): the application knows best what bounds it."""
_CAMEL = {"applicationUtilization": "application_utilization", "cpuUtilization": "cpu_utilization"}


def reported_utilisation(value: bytes) -> float | None:
    """Return the utilisation (0..1, above when overcommitted) that a header value reports, or None.

    `TEXT name=value, ...` and `JSON {...}` are read (snake and camel case, as protobuf's JSON mapping allows both);
    `BIN ...` is not, nor is anything too long, unparsable, negative, infinite or not a number. Never raises: an
    instance must not be able to fail a request by what it reports about itself.
    """
    if len(value) > MAX_REPORT_BYTES:
        return None
    kind, _, body = value.partition(b" ")
    if kind == b"TEXT":
        found = _read_text(body)
    elif kind == b"JSON":
        found = _read_json(body)
    else:
        return None
    for name in _NAMES:
        number = found.get(name)
        if number is not None and math.isfinite(number) and 0.0 <= number <= _MAX_UTILISATION:
            return number
    return None


def _read_text(body: bytes) -> dict[str, float]:
    found = {}
    for pair in body.split(b","):
        raw_name, separator, raw_value = pair.partition(b"=")
        name = raw_name.strip().decode("latin-1")
        if separator and name in _NAMES:
            try:
                found[name] = float(raw_value)
            except ValueError:
                continue
    return found


def _read_json(body: bytes) -> dict[str, float]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return {}
    return {
        _CAMEL.get(name, name): float(number)
        for name, number in fields.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= _MAX_UTILISATION
    }
