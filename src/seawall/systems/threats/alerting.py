"""Which events people are told of: each kind once in a while, and never more than they can read."""

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.model import Level

__all__ = ["Alert", "AlertGate"]

_MAX_KINDS = 10_000


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told.

    Attributes:
        id: of the event.
        at: seconds since the Unix epoch.
        title: one line.
        level: of the event.
        event: redacted.
        repeated: events of this kind since the last alert about it, this one not counted.
        withheld: alerts of all kinds that were held back since the last alert, as there were too many.
    """

    id: str
    at: float
    title: str
    level: Level
    event: ThreatEvent
    repeated: int = 0
    withheld: int = 0


class AlertGate:
    """Hold back what was told already, and what comes too fast.

    Events are of one kind when class, client, account and route are the same.

    Args:
        quiet: seconds in which a kind is told once.
        per_minute: alerts at most, of all kinds together.

    Raises:
        InvalidError: a number is not above 0.

    Pure. Not for concurrent use.
    """

    def __init__(self, *, quiet: float = 300.0, per_minute: float = 10.0) -> None:
        if not (quiet > 0.0 and per_minute > 0.0):
            raise InvalidError("alerts need a quiet time and a rate above 0", hint="Give numbers above 0.")
        self._quiet = quiet
        self._rate = per_minute / 60.0
        self._burst = max(per_minute, 1.0)
        self._tokens = self._burst
        self._at = 0.0
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}
        self.withheld = 0
        """Alerts held back since the last one, as there were too many."""

    def admit(self, event: ThreatEvent, now: float) -> Alert | None:
        """Return the alert that an event is worth now; None when it is to be kept quiet.

        Args:
            event: redacted.
            now: monotonic seconds; a clock that goes backwards earns nothing.
        """
        kind = (event.category.value, event.client, event.account, event.route)
        told, repeated = self._told.pop(kind, (float("-inf"), 0))
        if 0.0 <= now - told < self._quiet:
            self._told[kind] = (told, repeated + 1)
            return None
        self._tokens = min(self._tokens + max(now - self._at, 0.0) * self._rate, self._burst)
        self._at = now
        if self._tokens < 1.0:
            self.withheld += 1
            return None
        self._tokens -= 1.0
        withheld, self.withheld = self.withheld, 0
        self._told[kind] = (now, 0)
        if len(self._told) > _MAX_KINDS:
            for oldest in list(self._told)[: _MAX_KINDS // 8]:
                del self._told[oldest]
        return Alert(
            id=event.id,
            at=event.at,
            title=_title(event),
            level=event.level,
            event=event,
            repeated=repeated,
            withheld=withheld,
        )


def _title(event: ThreatEvent) -> str:
    """Return one line: what, from whom, where; without anything that the client chose but its address."""
    whom = f"account {event.account}" if event.account and not event.client else event.client or "many clients"
    where = f" on {event.route}" if event.route else ""
    done = f"would have been answered by {event.action.value}" if event.shadow else event.action.value
    line = f"{event.level.value} threat: {event.category.value.replace('-', ' ')} from {whom}{where}: {done}"
    return "".join(one if one.isprintable() else "?" for one in line)[:200]
