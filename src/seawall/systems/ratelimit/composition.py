"""From what operators and ladders said to the parts of a snapshot, and back again after a start without the store."""

import logging
from collections.abc import Iterable, Mapping

import msgspec

from seawall.core.clock import Clock
from seawall.systems.ratelimit.model import Block, Override, PenaltySnapshot, RateLimitSnapshot
from seawall.systems.ratelimit.penalties import MAX_PENALTIES, Penalties
from seawall.systems.ratelimit.plan import RateLimitPlan
from seawall.systems.ratelimit.records import (
    BlockRecord,
    GatewayRecord,
    OverrideRecord,
    PenaltyRecord,
    Record,
    ResetRecord,
    RulesRecord,
)
from seawall.systems.ratelimit.rulebook import MAX_SUBJECTS, Rulebook

__all__ = ["Composer", "blocks_of", "overrides_of", "penalties_of", "records_of", "resets_of", "size_of"]

_log = logging.getLogger("seawall.ratelimit")

_FOREVER = float("inf")
_WORTH_A_RULE = 10
"""Entries that a rule weighs as much as, roughly, on the way to the workers."""
_EXPIRY = 1.0
"""Seconds between two looks for blocks and overrides that have ended."""


class Composer:
    """Puts snapshots together; parts that cannot have changed are taken as they were.

    Args:
        book: what operators and other gateways said.
        penalties: this gateway's.
        clock: time.
        gateway: this gateway's id among those that share the store.
        workers: its processes.

    Attributes:
        plan: the settings in force; None until there are any.
        parts: what was composed last, of the version 0.
        stale: whether the plan or the book has changed since.
    """

    def __init__(self, book: Rulebook, penalties: Penalties, clock: Clock, gateway: str, workers: int) -> None:
        self.plan: RateLimitPlan | None = None
        self.parts = RateLimitSnapshot(version=0)
        self.stale = True
        self._book = book
        self._penalties = penalties
        self._clock = clock
        self._gateway = gateway
        self._workers = max(workers, 1)
        self._looked = 0.0

    @property
    def processes(self) -> int:
        """Processes that share each limit, over all gateways on the store, as far as this one knows."""
        others = sum(one.processes for one in self._book.records(GatewayRecord) if one.name != self._gateway)
        return self._workers + max(others, 0)

    def compose(
        self,
        now: float,
        *,
        load: dict[str, float],
        threat: float,
        threats: dict[str, float],
        admission: tuple[float, ...],
    ) -> RateLimitSnapshot:
        """Return what is in force at `now`, monotonic seconds, under these factors; of the version 0."""
        parts = self.parts
        if self.stale or now - self._looked >= _EXPIRY:
            self.stale, self._looked = False, now
            self._penalties.changed = True
            parts = self._looked_up(parts)
        if self._penalties.changed:
            self._penalties.changed = False
            others = self._book.records(PenaltyRecord)
            penalties = penalties_of(self._penalties.current, others, self._clock.wall())
            parts = msgspec.structs.replace(parts, penalties=penalties)
        self.parts = msgspec.structs.replace(parts, load=load, threat=threat, threats=threats, admission=admission)
        return self.parts

    def _looked_up(self, parts: RateLimitSnapshot) -> RateLimitSnapshot:
        book, plan = self._book, self.plan
        if plan is not None:
            parts = msgspec.structs.replace(
                parts,
                rules=plan.rules,
                priorities=plan.priorities,
                shedding=plan.shed_slack is not None,
                headers=plan.headers,
                max_keys=plan.max_keys,
            )
        return msgspec.structs.replace(
            parts,
            blocks=blocks_of(book.records(BlockRecord)),
            overrides=overrides_of(book.records(OverrideRecord)),
            resets=resets_of(book.records(ResetRecord)),
            share=1.0 / self.processes,
            operator=msgspec.json.encode(RulesRecord(rules=book.rules)) if book.rules else b"",
        )


def blocks_of(records: Iterable[BlockRecord]) -> dict[str, Block]:
    """Return the blocks by subject, at most as many as may be in force."""
    blocks = {one.name: Block(until=_end(one), reason=one.reason) for one in records}
    return dict(list(blocks.items())[:MAX_SUBJECTS])


def overrides_of(records: Iterable[OverrideRecord]) -> dict[str, Override]:
    """Return the overrides by subject, at most as many as may be in force."""
    overrides = {one.name: Override(limit=one.limit, until=_end(one), rule=one.rule) for one in records}
    return dict(list(overrides.items())[:MAX_SUBJECTS])


def resets_of(records: Iterable[ResetRecord]) -> dict[str, float]:
    """Return the resets by key, the newest where there are too many."""
    newest = sorted(records, key=lambda one: one.at)[-MAX_SUBJECTS:]
    return {one.name: one.at for one in newest}


def penalties_of(
    own: Mapping[str, PenaltySnapshot], others: Iterable[PenaltyRecord], wall: float
) -> dict[str, PenaltySnapshot]:
    """Return the penalties of this gateway's ladder and of the others', the harder one where there are two."""
    penalties = {key: one for key, one in own.items() if wall < one.until}
    for record in others:
        mine = penalties.get(record.name)
        theirs = PenaltySnapshot(record.factor, _end(record))
        if mine is None:
            if len(penalties) < MAX_PENALTIES:
                penalties[record.name] = theirs
        elif (theirs.factor, -theirs.until) < (mine.factor, -mine.until):
            penalties[record.name] = theirs
    return penalties


def records_of(snapshot: RateLimitSnapshot, wall: float) -> list[Record]:
    """Return what the store said, as far as the last known snapshot tells; what is over by now is left out."""
    records: list[Record] = [
        *(BlockRecord(name=name, until=_stored(one.until), reason=one.reason) for name, one in snapshot.blocks.items()),
        *(
            OverrideRecord(name=name, until=_stored(one.until), limit=one.limit, rule=one.rule)
            for name, one in snapshot.overrides.items()
        ),
        *(
            PenaltyRecord(name=name, until=_stored(one.until), factor=one.factor)
            for name, one in snapshot.penalties.items()
        ),
    ]
    records = [one for one in records if one.until is None or wall < one.until]
    if snapshot.operator:
        try:
            records.append(msgspec.json.decode(snapshot.operator, type=RulesRecord))
        except msgspec.DecodeError as error:
            _log.warning("the rules of the last known snapshot that were set at run time cannot be read: %s", error)
    return records


def size_of(snapshot: RateLimitSnapshot) -> int:
    """Return how many entries a snapshot has."""
    subjects = (snapshot.blocks, snapshot.overrides, snapshot.penalties, snapshot.threats, snapshot.resets)
    return _WORTH_A_RULE * len(snapshot.rules) + sum(len(entries) for entries in subjects)


def _end(record: Record) -> float:
    return _FOREVER if record.until is None else record.until


def _stored(until: float) -> float | None:
    return None if until == _FOREVER else until
