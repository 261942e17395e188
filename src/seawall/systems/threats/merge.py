"""What the configuration says and what was said at run time, as one snapshot."""

import math
from collections.abc import Sequence

import msgspec

from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.messages import Ban, ListEntry, ThreatSnapshot
from seawall.systems.threats.model import Mode
from seawall.systems.threats.networks import pack
from seawall.systems.threats.records import BanRecord, ListRecord, ModesRecord
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["bans_of", "merged_snapshot"]


def merged_snapshot(
    base: ThreatSnapshot,
    settings: ThreatDetectionSettings,
    book: ThreatBook,
    exclusions: Sequence[Exclusion],
    max_bans: int,
) -> ThreatSnapshot:
    """Return the snapshot; what was said at run time wins, and of too many bans those that last longest stay.

    Args:
        base: from `snapshot_of(settings)`.
        settings: the section.
        book: what was said.
        exclusions: those of it that have an effect.
        max_bans: that are told.
    """
    lists = book.records(ListRecord)
    modes = book.find(ModesRecord) or ModesRecord()
    snapshot = base
    if lists:
        entries = [*base.entries, *(ListEntry(_until(one.until), one.reason) for one in lists)]
        first = len(base.entries)
        numbered = list(enumerate(lists, first))
        snapshot = msgspec.structs.replace(
            snapshot,
            allow=pack(
                [*((one, 0) for one in settings.allow), *((one.name, at) for at, one in numbered if one.allowed)]
            ),
            block=pack(
                [*((one, 1) for one in settings.block), *((one.name, at) for at, one in numbered if not one.allowed)]
            ),
            entries=tuple(entries),
        )
    policy = snapshot.policy
    if modes.mode is not None:
        policy = msgspec.structs.replace(policy, mode=modes.mode)
    if modes.rules:
        policy = msgspec.structs.replace(policy, rules=(*modes.rules.items(), *policy.rules))
    if exclusions:
        policy = msgspec.structs.replace(policy, exclusions=(*policy.exclusions, *exclusions))
    if not settings.enabled:
        policy = msgspec.structs.replace(policy, mode=Mode.OFF)
    routes = {**dict(snapshot.routes), **modes.routes} if settings.enabled else {}
    return msgspec.structs.replace(snapshot, policy=policy, routes=tuple(routes.items()), bans=bans_of(book, max_bans))


def bans_of(book: ThreatBook, most: int) -> dict[str, Ban]:
    """Return the bans in force by subject; of too many those that last longest."""
    records = book.records(BanRecord)
    if len(records) > most:
        records = sorted(records, key=lambda one: -_until(one.until))[:most]
    return {one.name: Ban(_until(one.until), one.reason, one.challenge) for one in records}


def _until(until: float | None) -> float:
    return math.inf if until is None else until
