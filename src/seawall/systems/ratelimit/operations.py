"""Carry out operators' actions on limits: what is allowed, what is refused and why."""

from collections.abc import Callable

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, InvalidError, NotFoundError
from seawall.systems.ratelimit.actions import (
    Action,
    BlockSubject,
    OverrideSubject,
    RemoveRule,
    ResetKey,
    SetRule,
    UnblockSubject,
)
from seawall.systems.ratelimit.keys import parse_subject
from seawall.systems.ratelimit.plan import BASE
from seawall.systems.ratelimit.records import BlockRecord, OverrideRecord, PardonRecord, PenaltyRecord, ResetRecord
from seawall.systems.ratelimit.rulebook import Named, Rulebook
from seawall.systems.ratelimit.ruleset import RunTimeRule, merge, merge_what_fits
from seawall.systems.ratelimit.settings import RateLimitSettings

__all__ = ["RESET_SECONDS", "Operations", "target_of"]

RESET_SECONDS = 30.0
"""How long a reset or a pardon stays in the store and in snapshots: longer than any gateway needs to hear of it."""


class Operations:
    """Apply actions through the rulebook, atomically over all gateways that share the store.

    Args:
        file: returns the settings of the file, to which what is set at run time is added.
        rules: returns the ids of the rules in force, in order.
        forgive: forgets a key's violations on this gateway; tells whether there were any.
    """

    def __init__(
        self,
        book: Rulebook,
        clock: Clock,
        file: Callable[[], RateLimitSettings],
        rules: Callable[[], list[str]],
        forgive: Callable[[str], bool],
    ) -> None:
        self._book = book
        self._clock = clock
        self._file = file
        self._rules = rules
        self._forgive = forgive

    async def perform(self, action: Action) -> bool:
        """Carry out one action; tell whether there was anything to change.

        Raises:
            ConfigurationError: a rule cannot stand among the others; tells why.
            ConflictError: the version has moved on, or the action is at odds with what exists.
            InvalidError: a subject is none, or there are too many.
            NotFoundError: there is no such rule.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        match action:
            case SetRule():
                return await self._set_rule(action)
            case RemoveRule():
                return await self._remove_rule(action)
            case ResetKey():
                return await self._reset(action)
            case BlockSubject():
                return await self._block(action)
            case UnblockSubject():
                return await self._unblock(action)
            case OverrideSubject():
                return await self._override(action)

    def describe(self, action: Action) -> dict[str, object] | None:
        """Return what an action is about as the store says it is, for the audit trail; None for nothing."""
        name = target_of(action)
        record: BlockRecord | OverrideRecord | PenaltyRecord | None = None
        match action:
            case SetRule() | RemoveRule():
                found = next((one for one in self._book.rules if one.id == name), None)
                return None if found is None else {"rule": found.rule, "before": found.before}
            case BlockSubject():
                record = self._book.find(BlockRecord, name)
            case UnblockSubject():
                record = self._book.find(BlockRecord, name) or self._book.find(PenaltyRecord, name)
            case OverrideSubject():
                record = self._book.find(OverrideRecord, name)
            case ResetKey():
                record = self._book.find(PenaltyRecord, name)
        return None if record is None else {key: value for key, value in msgspec.to_builtins(record).items() if value}

    async def _set_rule(self, action: SetRule) -> bool:
        given = action.rule.model_dump(mode="json", exclude_unset=True)
        changed = False

        def change(stored: tuple[RunTimeRule, ...]) -> tuple[RunTimeRule, ...]:
            nonlocal changed
            file = self._file()
            merged = merge_what_fits(file, stored)
            known = [rule.id for rule in merged.settings.rules]
            if action.before is not None and action.before not in {*known, BASE}:
                raise NotFoundError(f"there is no rule {action.before!r}", hint=f"rules: {', '.join(known) or 'none'}")
            old = next((one for one in stored if one.id == action.rule.id), None)
            before = old.before if action.before is None and old is not None else action.before or ""
            one = RunTimeRule(rule=given, before=before)
            after = [one if other is old else other for other in stored] if old is not None else [*stored, one]
            merge(file, [other for other in after if other is one or other.id not in merged.left_out])
            changed = one != old
            return tuple(after)

        await self._book.change_rules(change, action.version)
        return changed

    async def _remove_rule(self, action: RemoveRule) -> bool:
        def change(stored: tuple[RunTimeRule, ...]) -> tuple[RunTimeRule, ...]:
            after = tuple(one for one in stored if one.id != action.id)
            if len(after) == len(stored):
                raise self._not_at_run_time(action.id, stored)
            return after

        await self._book.change_rules(change, action.version)
        return True

    def _not_at_run_time(self, rule: str, stored: tuple[RunTimeRule, ...]) -> ConflictError | NotFoundError:
        if rule == BASE:
            return ConflictError(
                "the base limit comes from the configuration file", hint="set ratelimit.base = 0 there"
            )
        if rule in {one.id for one in self._file().rules}:
            return ConflictError(
                f"rule {rule!r} comes from the configuration file",
                hint='take it out there, or set it here with mode = "off"',
            )
        known = ", ".join(one.id for one in stored) or "none"
        return NotFoundError(f"there is no rule {rule!r}", hint=f"rules set at run time: {known}")

    async def _reset(self, action: ResetKey) -> bool:
        key = target_of(action)
        wall = self._clock.wall()
        record = ResetRecord(name=key, at=wall, until=wall + RESET_SECONDS)
        await self._book.put(record, ttl=RESET_SECONDS, expected=action.version, without=[(PenaltyRecord, key)])
        self._forgive(key)
        return True

    async def _block(self, action: BlockSubject) -> bool:
        until = self._end(action.ttl_ms)
        record = BlockRecord(name=target_of(action), until=until, reason=action.reason)
        await self._book.put(record, ttl=_seconds(action.ttl_ms), expected=action.version)
        return True

    async def _unblock(self, action: UnblockSubject) -> bool:
        name = target_of(action)
        lifted: list[Named] = [(BlockRecord, name), (PenaltyRecord, name)]
        known = any(self._book.find(*one) is not None for one in lifted)
        # Only blocks are in the store; a throttle is known to the gateway alone that imposed it, which follows this.
        wall = self._clock.wall()
        record = PardonRecord(name=name, at=wall, until=wall + RESET_SECONDS)
        await self._book.put(record, ttl=RESET_SECONDS, expected=action.version, without=lifted)
        return self._forgive(name) or known

    async def _override(self, action: OverrideSubject) -> bool:
        name = target_of(action)
        if action.limit is None:
            return await self._book.remove((OverrideRecord, name), expected=action.version)
        if action.rule is not None and action.rule not in self._rules():
            raise NotFoundError(
                f"there is no rule {action.rule!r}", hint=f"rules: {', '.join(self._rules()) or 'none'}"
            )
        record = OverrideRecord(name=name, until=self._end(action.ttl_ms), limit=action.limit, rule=action.rule or "")
        await self._book.put(record, ttl=_seconds(action.ttl_ms), expected=action.version)
        return True

    def _end(self, ttl_ms: int | None) -> float | None:
        return None if ttl_ms is None else self._clock.wall() + ttl_ms / 1000


def target_of(action: Action) -> str:
    """Return what an action is about in its one spelling; of an API key only the digest.

    Raises:
        InvalidError: it names no subject.
    """
    match action:
        case SetRule():
            return action.rule.id
        case RemoveRule():
            return action.id
        case ResetKey():
            return _key(action.key)
        case UnblockSubject():
            return _key(action.subject)
        case BlockSubject() | OverrideSubject():
            return parse_subject(action.subject)


def _key(text: str) -> str:
    """Return a key: in the one spelling of a subject where it is one, else, such as one of several parts, as it is."""
    if "|" in text:
        return text
    try:
        return parse_subject(text)
    except InvalidError:
        return text


def _seconds(ttl_ms: int | None) -> float | None:
    return None if ttl_ms is None else ttl_ms / 1000
