"""Changes of instances in the log: one line each, and a summary where there are too many to read."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from seawall.systems.balancing.members import Member, Source

__all__ = ["ChangeLog", "changes_of"]

_ADDED = {Source.FILE: "configured", Source.REGISTRY: "registered", Source.DNS: "found in DNS"}
_REMOVED = {
    Source.FILE: "no longer configured",
    Source.REGISTRY: "unregistered",
    Source.DNS: "no longer found in DNS",
}
_EXPIRED = "at the end of its time to live"


class ChangeLog:
    """Log changes; those beyond `limit` within one window are counted and told together when it is over.

    Args:
        log: where to.
        limit: lines in one window.
        window: its length in seconds.
    """

    def __init__(self, log: logging.Logger, *, limit: int = 20, window: float = 1.0) -> None:
        self._log = log
        self._limit = limit
        self._window = window
        self._ends = 0.0
        self._lines = 0
        self._untold: dict[str, Counter[str]] = {}
        self._level = logging.INFO

    def tell(
        self, now: float, pool: str, instance_id: str, what: str, detail: str = "", *, level: int = logging.INFO
    ) -> None:
        """Log that an instance is now `what`, such as `registered`, followed by the detail.

        Args:
            now: monotonic seconds.
            pool: the instance's pool.
            instance_id: the instance's id within it.
            what: what it is now, in the same words each time.
            detail: what comes after it on a line of its own.
            level: level of the line.
        """
        self.step(now)
        if self._lines < self._limit:
            if self._lines == 0:
                self._ends = now + self._window
            self._lines += 1
            self._log.log(level, "instance %s/%s is %s%s", pool, instance_id, what, detail)
            return
        self._untold.setdefault(pool, Counter())[what] += 1
        self._level = max(self._level, level)

    def step(self, now: float) -> None:
        """Tell what was held back once its window is over; call it when time passes."""
        if self._lines and now >= self._ends:
            self.flush()

    def flush(self) -> None:
        """Tell what was held back now."""
        for pool, kinds in self._untold.items():
            told = ", ".join(f"{count} {what}" for what, count in kinds.most_common())
            self._log.log(self._level, "pool %s: %d more changes of instances: %s", pool, kinds.total(), told)
        self._untold.clear()
        self._lines = 0
        self._level = logging.INFO


def changes_of(
    before: Mapping[str, Member], after: Mapping[str, Member], expired: AbstractSet[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield (instance id, what it is now, detail) for each member that came, went or was changed.

    Args:
        before: one pool's members until now.
        after: its members from now on.
        expired: ids of those whose registration ended without a heartbeat.
    """
    for instance_id, old in before.items():
        if instance_id not in after:
            ended = instance_id in expired and old.source is Source.REGISTRY
            yield instance_id, _EXPIRED if ended else _REMOVED[old.source], ""
    for instance_id, new in after.items():
        known = before.get(instance_id)
        if known is None:
            yield instance_id, _ADDED[new.source], f" at {new.url}, weight {new.weight:g}"
            continue
        if new.url != known.url:
            yield instance_id, "moved", f" from {known.url} to {new.url}"
        if new.weight != known.weight:
            yield instance_id, "given another weight", f": {new.weight:g}, was {known.weight:g}"
        if new.leaving and not known.leaving:
            yield instance_id, "being unregistered", ", it drains first"
        elif new.draining != known.draining:
            yield instance_id, "draining" if new.draining else "draining no longer", ""
