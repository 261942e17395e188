"""What the controller has to tell that is about no single request."""

import secrets
from collections.abc import Callable

import msgspec

from seawall.core.clock import Clock
from seawall.systems.threats.events import ThreatEvent, redacted
from seawall.systems.threats.messages import ThreatReport
from seawall.systems.threats.model import Action, Level, ThreatClass
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.tally import Tally

__all__ = ["Notices"]


class Notices:
    """Writes events of the controller's own, counted, kept and told, and tells the countries of all events.

    Attributes:
        country: gives that of an address, empty where it is not known; None without a database.
    """

    def __init__(self, tally: Tally, recorder: Recorder, clock: Clock) -> None:
        self.country: Callable[[str], str] | None = None
        self._tally = tally
        self._recorder = recorder
        self._clock = clock
        self._origin = secrets.token_hex(4)
        self._count = 0

    def tell(
        self,
        category: ThreatClass,
        level: Level,
        action: Action,
        detail: str,
        *,
        shadow: bool = False,
        client: str = "",
        account: str = "",
        route: str = "",
    ) -> None:
        """Write an event; arguments as `ThreatEvent` has them."""
        wall = self._clock.wall()
        self._count += 1
        event = redacted(
            ThreatEvent(
                id=f"{int(wall * 1e6):014x}-{self._origin}-{self._count:x}",
                at=wall,
                category=category,
                level=level,
                action=action,
                shadow=shadow,
                client=client,
                country=self._country_of(client),
                account=account,
                route=route,
                detail=detail,
            )
        )
        self._tally.note(event)
        self._recorder.take([event])

    def placed(self, report: ThreatReport) -> ThreatReport:
        """Return a guard's report with the countries of its events, as far as they are known."""
        if self.country is None or not report.events:
            return report
        events = [msgspec.structs.replace(one, country=self._country_of(one.client)) for one in report.events]
        return msgspec.structs.replace(report, events=tuple(events))

    def _country_of(self, client: str) -> str:
        return self.country(client) if client and self.country is not None else ""
