"""Snapshots go down, reports come up: the two frozen values that control and data plane exchange."""

import msgspec

__all__ = ["Report", "Snapshot"]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller knows, as one value that engines swap in atomically.

    Attributes:
        version: grows with every publication of one controller; an engine ignores an older one.
    """

    version: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine saw since it started; counters are cumulative, so a lost report costs nothing."""
