"""The configuration of threat detection as the engine takes it."""

import math

from seawall.systems.threats.baseline import SUSPICIOUS
from seawall.systems.threats.clients import ClientScores, ClientWatch, threshold_of
from seawall.systems.threats.floods import FloodLimits
from seawall.systems.threats.inspection.policy import Caps, Exclusion, OverCap, Policy, Thresholds
from seawall.systems.threats.logins import LoginLimits
from seawall.systems.threats.messages import CsrfPolicy, ListEntry, LoginPolicy, ThreatSnapshot
from seawall.systems.threats.model import Action, Level, Mode, PlaceKind
from seawall.systems.threats.networks import pack
from seawall.systems.threats.response import ResponseLimits
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["client_watch_of", "flood_limits_of", "oddity_of", "policy_of", "response_of", "snapshot_of"]


def policy_of(settings: ThreatDetectionSettings) -> Policy:
    """Return the policy that settings describe."""
    caps, scores, actions = settings.caps, settings.thresholds, settings.actions
    return Policy(
        mode=Mode(settings.mode) if settings.enabled else Mode.OFF,
        paranoia=settings.paranoia,
        thresholds=Thresholds(scores.low, scores.medium, scores.high, scores.critical),
        caps=Caps(caps.bytes, caps.values, caps.depth, caps.part_bytes, caps.work),
        over_cap=OverCap(caps.over),
        actions=(
            (Level.LOW, Action(actions.low)),
            (Level.MEDIUM, Action(actions.medium)),
            (Level.HIGH, Action(actions.high)),
            (Level.CRITICAL, Action(actions.critical)),
        ),
        rules=tuple((rule.rule, Mode(rule.mode)) for rule in settings.rules),
        exclusions=tuple(
            Exclusion(one.rule, one.path, tuple(PlaceKind(kind) for kind in one.kinds), one.name, one.example)
            for one in settings.exclusions
        ),
    )


def snapshot_of(settings: ThreatDetectionSettings) -> ThreatSnapshot:
    """Return what settings alone make of a guard: no bans, no floods, no challenges, version 0.

    Raises:
        InvalidError: a list is too long.
    """
    csrf, logins = settings.csrf, settings.logins
    return ThreatSnapshot(
        version=0,
        policy=policy_of(settings),
        routes=tuple((one.path, Mode(one.mode)) for one in settings.routes) if settings.enabled else (),
        hold_bytes=settings.hold_bytes,
        allow=pack((network, 0) for network in settings.allow),
        block=pack((network, 1) for network in settings.block),
        entries=(ListEntry(reason="allowed by the configuration"), ListEntry(reason="blocked by the configuration")),
        csrf=CsrfPolicy(
            mode=Mode(csrf.mode),
            trusted_origins=csrf.trusted_origins,
            bypass=tuple((one.path, one.methods) for one in csrf.bypass),
        ),
        logins=_logins(settings) if logins.paths else None,
        response=response_of(settings),
        probing=settings.probing,
        slow=settings.slow,
        judge_clients=settings.judge_clients,
    )


def response_of(settings: ThreatDetectionSettings) -> ResponseLimits:
    """Return when repeated threats lead to what."""
    bans = settings.bans
    return ResponseLimits(
        half_life=bans.half_life_ms / 1000,
        throttle_at=bans.throttle_at,
        challenge_at=bans.challenge_at,
        block_at=bans.block_at,
        ban_at=bans.ban_at,
        hold=bans.hold_ms / 1000,
        ban=bans.base_ms / 1000,
        longest_ban=bans.longest_ms / 1000,
        ban_on_critical=settings.block_on_critical,
    )


def flood_limits_of(settings: ThreatDetectionSettings) -> FloodLimits:
    """Return what a flood is."""
    floods = settings.floods
    return FloodLimits(floor=floods.floor, headroom=floods.headroom, stranger=floods.stranger, source=floods.source)


def oddity_of(settings: ThreatDetectionSettings) -> float:
    """Return the modified z-score above which traffic is odd: 3.5 in the middle, half of it at 0, twice at 1."""
    return SUSPICIOUS * math.pow(4.0, settings.anomaly_threshold - 0.5)


def client_watch_of(scores: ClientScores | None, settings: ThreatDetectionSettings) -> ClientWatch | None:
    """Return what judges clients by a model of them; None without one."""
    return None if scores is None else ClientWatch(scores, threshold_of(settings.anomaly_threshold))


def _logins(settings: ThreatDetectionSettings) -> LoginPolicy:
    logins = settings.logins
    return LoginPolicy(
        paths=logins.paths,
        methods=logins.methods,
        failures=logins.failures,
        account_fields=logins.account_fields,
        limits=LoginLimits(
            burst=logins.burst,
            burst_leak=1000 / logins.burst_leak_ms,
            slow=logins.slow,
            slow_leak=1000 / logins.slow_leak_ms,
            accounts=logins.accounts,
            addresses=logins.addresses,
            spread=logins.spread,
            period=logins.period_ms / 1000,
        ),
    )
