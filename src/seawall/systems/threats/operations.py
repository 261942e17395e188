"""Carrying out what operators ask."""

import ipaddress
from collections.abc import Callable

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConflictError, InvalidError, NotFoundError
from seawall.systems.threats.actions import (
    Action,
    ActionResult,
    Allow,
    Block,
    Disallow,
    Exclude,
    Feedback,
    SetMode,
    Unblock,
)
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.detectors.registry import DETECTORS
from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.model import Mode, PlaceKind, ThreatClass
from seawall.systems.threats.networks import parse_network, subject_of_address
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.records import BanRecord, ExclusionsRecord, ListRecord, ModesRecord, OffencesRecord
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["Operations", "network_text", "subject_of"]

_MAX_MODES = 1000
_CLASSES = {one.value for one in ThreatClass} - {
    # Seen in how clients behave, and not in what a request holds.
    ThreatClass.CSRF,
    ThreatClass.BRUTE_FORCE,
    ThreatClass.DDOS,
    ThreatClass.RATE_ABUSE,
    ThreatClass.PROBING,
    ThreatClass.ANOMALY,
    ThreatClass.BLOCKED,
}
_MAX_EXCLUSIONS = 1000


class Operations:
    """Carry out actions over the book.

    Args:
        book: where they are kept.
        recorder: of events, for feedback.
        clock: time.
        settings: those in force.
        forgive: forgets what led to a subject's ban.
        prove: raises `InvalidError` for an exclusion without effect.
        allowed: tells whether nothing is asked of an address.
        judged: told of each event whether it was a false positive.
    """

    def __init__(
        self,
        book: ThreatBook,
        recorder: Recorder,
        clock: Clock,
        settings: Callable[[], ThreatDetectionSettings],
        forgive: Callable[[str], bool],
        prove: Callable[[Exclusion], None],
        allowed: Callable[[str], bool],
        judged: Callable[[bool], None],
    ) -> None:
        self._book = book
        self._recorder = recorder
        self._clock = clock
        self._settings = settings
        self._forgive = forgive
        self._prove = prove
        self._allowed = allowed
        self._judged = judged

    def describe(self, action: Action) -> object:
        """Return what an action is about, as it is now."""
        match action:
            case Block():
                return _shown(self._book.find(BanRecord, subject_of(action.subject)))
            case Unblock():
                return _shown(self._book.find(BanRecord, self._banned_as(subject_of(action.subject))))
            case Allow() | Disallow():
                return _shown(self._book.find(ListRecord, network_text(action.network)))
            case SetMode():
                return _shown(self._book.find(ModesRecord))
            case Exclude():
                return _shown(self._book.find(ExclusionsRecord))
            case Feedback():
                return None

    async def perform(self, action: Action) -> ActionResult:
        """Carry out one action.

        Raises:
            InvalidError: it names nobody, or is refused.
            NotFoundError: there is no such event.
            ConflictError: the configuration, or the allow-list, says otherwise.
            StateUnavailableError: the store cannot be reached; nothing was changed.
        """
        target, changed = await self._carry_out(action)
        return ActionResult(action=action.action, target=target, changed=changed)

    async def _carry_out(self, action: Action) -> tuple[str, bool]:
        match action:
            case Block():
                return await self._block(action)
            case Unblock():
                return await self._unblock(action)
            case Allow():
                return await self._allow(action)
            case Disallow():
                return await self._disallow(action)
            case Feedback():
                return await self._judge(action)
            case _:
                return await (self._set_mode(action) if isinstance(action, SetMode) else self._exclude(action))

    async def _unblock(self, action: Unblock) -> tuple[str, bool]:
        subject = self._banned_as(subject_of(action.subject))
        known = await self._book.remove(BanRecord, subject)
        # What is remembered of it would make its next ban longer.
        await self._book.remove(OffencesRecord, subject)
        return subject, self._forgive(subject) or known

    def _banned_as(self, subject: str) -> str:
        """Return what a client is banned as: an IPv6 address by itself, or by the /64 that it is in."""
        if self._book.find(BanRecord, subject) is None and subject.startswith("client:"):
            return subject_of_address(subject.removeprefix("client:"))
        return subject

    async def _judge(self, action: Feedback) -> tuple[str, bool]:
        store = self._recorder.store
        known = await store.get(action.event)
        if known is not None and known.false_positive is action.false_positive:
            return action.event, False
        if known is None or not await store.judge(action.event, false_positive=action.false_positive):
            raise NotFoundError(f"there is no event {action.event}", hint="it may have been dropped by age")
        self._judged(action.false_positive)
        return action.event, True

    async def _block(self, action: Block) -> tuple[str, bool]:
        subject = subject_of(action.subject)
        if subject.startswith("client:") and self._allowed(subject.removeprefix("client:")):
            raise ConflictError(
                f"{subject} is allowed, so a ban would have no effect", hint="take it off the allow-list first"
            )
        await self._book.put(BanRecord(name=subject, until=self._until(action.ttl_ms), reason=action.reason))
        return subject, True

    async def _allow(self, action: Allow) -> tuple[str, bool]:
        network = network_text(action.network)
        await self._book.put(
            ListRecord(name=network, until=self._until(action.ttl_ms), allowed=True, reason=action.reason)
        )
        return network, True

    async def _disallow(self, action: Disallow) -> tuple[str, bool]:
        network = network_text(action.network)
        if self._book.find(ListRecord, network) is None and network in map(network_text, self._settings().allow):
            raise ConflictError(
                f"{network} is allowed by the configuration", hint="take it out of threats.allow and reload"
            )
        return network, await self._book.remove(ListRecord, network)

    async def _set_mode(self, action: SetMode) -> tuple[str, bool]:
        mode = None if action.mode is None else Mode(action.mode)
        if action.path is not None and action.rule is not None:
            raise InvalidError("a mode is set for a path or for a rule", hint="give one of them, or do it twice")
        if action.rule is not None and mode is not None and not _is_rule(action.rule):
            raise InvalidError(
                f'nothing finds anything under the name of "{action.rule}"',
                hint="give a rule's id as findings show it, a prefix that ends in *, or a class such as xss",
            )

        def change(known: ModesRecord | None) -> ModesRecord:
            record = known or ModesRecord()
            if action.path is not None:
                return msgspec.structs.replace(record, routes=_with(record.routes, action.path, mode))
            if action.rule is not None:
                return msgspec.structs.replace(record, rules=_with(record.rules, action.rule, mode))
            return msgspec.structs.replace(record, mode=mode)

        before = self._book.find(ModesRecord) or ModesRecord()
        await self._book.change(ModesRecord, change)
        after = self._book.find(ModesRecord) or ModesRecord()
        return action.path or action.rule or "everything", before != after

    async def _exclude(self, action: Exclude) -> tuple[str, bool]:
        one = action.exclusion
        exclusion = Exclusion(one.rule, one.path, tuple(PlaceKind(kind) for kind in one.kinds), one.name, one.example)
        if not action.remove:
            self._prove(exclusion)

        def change(known: ExclusionsRecord | None) -> ExclusionsRecord:
            kept = tuple(other for other in (known.exclusions if known else ()) if not _alike(other, exclusion))
            if action.remove:
                return ExclusionsRecord(exclusions=kept)
            if len(kept) >= _MAX_EXCLUSIONS:
                raise InvalidError(f"there are {_MAX_EXCLUSIONS} exclusions already", hint="take some back")
            return ExclusionsRecord(exclusions=(*kept, exclusion))

        before = self._book.find(ExclusionsRecord) or ExclusionsRecord()
        await self._book.change(ExclusionsRecord, change)
        after = self._book.find(ExclusionsRecord) or ExclusionsRecord()
        return f"{exclusion.rule} at {exclusion.path or 'every path'}", before != after

    def _until(self, ttl_ms: int | None) -> float | None:
        return None if ttl_ms is None else self._clock.wall() + ttl_ms / 1000


def subject_of(text: str) -> str:
    """Return the one spelling of a subject: `client:ADDRESS`, `network:NETWORK` or `account:NAME`.

    Raises:
        InvalidError: it is none.
    """
    kind, separator, value = text.partition(":")
    if separator and kind == "account":
        if not value.strip() or len(value) > 256:
            raise InvalidError("an account has a name of 1 to 256 characters", hint="Give account:alice.")
        return f"account:{value.strip().lower()}"
    network = network_text(value if separator and kind in {"client", "network"} else text)
    return f"network:{network}" if "/" in network else f"client:{network}"


def network_text(text: str) -> str:
    """Return the one spelling of an address or a network.

    Raises:
        InvalidError: it is neither.
    """
    version, first, length = parse_network(text)
    if version == 4:
        address = ".".join(str(first >> shift & 255) for shift in (24, 16, 8, 0))
        return address if length == 32 else f"{address}/{length}"
    address = str(ipaddress.IPv6Address(first))
    return address if length == 128 else f"{address}/{length}"


def _is_rule(text: str) -> bool:
    """Return whether a rule, prefix or class can name a finding; of a rule's id its detector's part is looked at."""
    names = [f"{detector.name}-" for detector in DETECTORS]
    if text.endswith("*"):
        prefix = text[:-1]
        return any(name.startswith(prefix) or prefix.startswith(name) for name in names)
    return text in _CLASSES or any(text.startswith(name) for name in names)


def _with(modes: dict[str, Mode], name: str, mode: Mode | None) -> dict[str, Mode]:
    kept = {other: known for other, known in modes.items() if other != name}
    if mode is None:
        return kept
    if len(kept) >= _MAX_MODES:
        raise InvalidError(f"there are {_MAX_MODES} modes already", hint="set some to null")
    return {**kept, name: mode}


def _alike(one: Exclusion, other: Exclusion) -> bool:
    """Return whether two exclusions leave out the same, whatever proves it."""
    return msgspec.structs.replace(one, example="") == msgspec.structs.replace(other, example="")


def _shown(record: msgspec.Struct | None) -> object:
    return None if record is None else msgspec.to_builtins(record)
