"""Who belongs to a pool: what the file, the registry and DNS each say, merged into one list."""

import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from seawall.systems.balancing.settings import MAX_INSTANCES

__all__ = ["ID_PATTERN", "Member", "Override", "Source", "merge"]

ID_PATTERN = re.compile(r"[!-~]{1,200}")
"""Ids are part of state keys and metric labels: printable ASCII without spaces, as in the settings."""


class Source(StrEnum):
    """Where an instance comes from, the strongest first: of two with the same id the stronger one counts."""

    FILE = "file"
    REGISTRY = "registry"
    """Registered through the admin API, kept in the state store."""
    DNS = "dns"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as configured or registered, before health and ramps.

    Attributes:
        weight: configured relative capacity, above 0.
        draining: an operator (or an unregistration) wants no new requests on it.
        leaving: it is being unregistered and goes away once it is idle.
        expires_at: seconds since the Unix epoch at which a registration without heartbeat ends; None for never.
    """

    id: str
    url: str
    source: Source
    weight: float = 1.0
    region: str = ""
    location: tuple[float, float] | None = None
    addresses: tuple[str, ...] = ()
    draining: bool = False
    leaving: bool = False
    expires_at: float | None = None


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator changed about an instance of the file or of DNS; kept in the state store."""

    weight: float | None = None
    draining: bool = False


def merge(
    file: Iterable[Member], registered: Iterable[Member], dns: Iterable[Member], overrides: dict[str, Override]
) -> tuple[dict[str, Member], list[str]]:
    """Merge one pool's members; return them by id, and in words what had to be left out."""
    merged: dict[str, Member] = {}
    findings: list[str] = []
    beyond = 0
    for source in (file, registered, dns):
        for member in source:
            other = merged.get(member.id)
            if other is not None:
                if other.url != member.url:
                    findings.append(
                        f"instance {member.id!r} is {other.url} ({other.source}) and also {member.url} "
                        f"({member.source}); the former counts"
                    )
                continue
            if len(merged) >= MAX_INSTANCES:
                beyond += 1
                continue
            merged[member.id] = _overridden(member, overrides.get(member.id))
    if beyond:
        findings.append(f"{beyond} instances beyond the limit of {MAX_INSTANCES} are left out")
    return merged, findings


def _overridden(member: Member, override: Override | None) -> Member:
    if override is None:
        return member
    return msgspec.structs.replace(
        member,
        weight=member.weight if override.weight is None else override.weight,
        draining=member.draining or override.draining,
    )
