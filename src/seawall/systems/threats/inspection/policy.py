"""What inspection is told: how strict it is, how much it reads, and what it leaves out."""

from enum import StrEnum

import msgspec

from seawall.systems.threats.model import Action, Level, Mode, PlaceKind

__all__ = ["Caps", "Exclusion", "OverCap", "Policy", "Thresholds"]


class OverCap(StrEnum):
    """What happens with a request that exceeds a cap; the verdict says `partial` in each case."""

    INSPECT_PREFIX = "inspect-prefix"
    """Judge it by what was read up to there."""
    REJECT = "reject"
    """Block it."""
    PASS = "pass"  # noqa: S105 - a policy, no password
    """Leave out the body, and judge it by its head."""


class Caps(msgspec.Struct, frozen=True):
    """Bounds of what is read of one request.

    Attributes:
        bytes: of the body, after it is decompressed.
        values: names and values together.
        depth: of nesting in JSON and XML.
        part_bytes: of one part of a multipart body that is a text file; a larger one is not looked into.
        work: characters that detectors read, those of each detector and of each form of a value by themselves. Honest
            bodies hardly come near; one that consists of triggers would otherwise cost some microseconds a byte.
    """

    bytes: int = 1_048_576
    values: int = 10_000
    depth: int = 64
    part_bytes: int = 65_536
    work: int = 2_000_000


class Thresholds(msgspec.Struct, frozen=True):
    """Scores from which on a request has a level, at paranoia 1."""

    low: float = 1.0
    medium: float = 3.0
    high: float = 5.0
    critical: float = 8.0


class Exclusion(msgspec.Struct, frozen=True):
    """Something that is not to be found at some place.

    Attributes:
        rule: a rule's id, a prefix that ends in `*`, or the name of a class.
        path: prefix of the request's path, on whole segments; empty for all.
        kinds: kinds of places; empty for all.
        name: of the parameter, field or header; empty for all.
        example: a value that the rule finds at such a place, which proves that the exclusion has an effect.
    """

    rule: str
    path: str = ""
    kinds: tuple[PlaceKind, ...] = ()
    name: str = ""
    example: str = ""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it, as the engine takes it.

    Attributes:
        mode: block acts, log finds and reports but allows, off does not look.
        paranoia: 1 to 4; from level to level a lower score suffices.
        actions: what follows from each level.
        rules: modes of single rules, by id, by a prefix that ends in `*`, or by class; of several the first counts.
    """

    mode: Mode = Mode.BLOCK
    paranoia: int = 1
    thresholds: Thresholds = Thresholds()
    caps: Caps = Caps()
    over_cap: OverCap = OverCap.INSPECT_PREFIX
    actions: tuple[tuple[Level, Action], ...] = (
        (Level.LOW, Action.ALLOW),
        (Level.MEDIUM, Action.TAG),
        (Level.HIGH, Action.BLOCK),
        (Level.CRITICAL, Action.BLOCK),
    )
    rules: tuple[tuple[str, Mode], ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
