"""What is kept about limits in the state store, as JSON; `name` tells a record from the others of its kind."""

import msgspec

from seawall.systems.ratelimit.ruleset import RunTimeRule

__all__ = [
    "BlockRecord",
    "GatewayRecord",
    "OverrideRecord",
    "PardonRecord",
    "PenaltyRecord",
    "Record",
    "ResetRecord",
    "RulesRecord",
]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all records have.

    Attributes:
        name: the subject, key or gateway that it is about.
        until: seconds since the Unix epoch at which it ends, None for never; the store itself keeps the time.
    """

    name: str = ""
    until: float | None = None


class BlockRecord(Record, frozen=True, kw_only=True):
    """A subject that an operator blocked."""

    reason: str = ""


class OverrideRecord(Record, frozen=True, kw_only=True):
    """A subject whose limit an operator set: requests per first window, of all rules where `rule` is empty."""

    limit: float
    rule: str = ""


class PenaltyRecord(Record, frozen=True, kw_only=True):
    """A key that a gateway's ladder of violations blocked; every gateway follows."""

    factor: float = 0.0
    gateway: str = ""


class PardonRecord(Record, frozen=True, kw_only=True):
    """A key whose violations every gateway is to forget; `at` in seconds since the Unix epoch."""

    at: float


class ResetRecord(Record, frozen=True, kw_only=True):
    """A key whose counts and violations are to be forgotten; `at` in seconds since the Unix epoch."""

    at: float


class GatewayRecord(Record, frozen=True, kw_only=True):
    """A gateway that lives, and the processes that it counts in."""

    processes: int


class RulesRecord(Record, frozen=True, kw_only=True):
    """All rules that were set at run time, and the version that they came with."""

    version: int = 0
    rules: tuple[RunTimeRule, ...] = ()
