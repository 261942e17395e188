"""What the controller has to tell that is about no single request."""

import secrets

from seawall.core.clock import Clock
from seawall.systems.threats.events import ThreatEvent, redacted
from seawall.systems.threats.model import Action, Level, ThreatClass
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.tally import Tally

__all__ = ["Notices"]


class Notices:
    """Writes events of the controller's own: counted, kept, told."""

    def __init__(self, tally: Tally, recorder: Recorder, clock: Clock) -> None:
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
                account=account,
                route=route,
                detail=detail,
            )
        )
        self._tally.note(event)
        self._recorder.take([event])
