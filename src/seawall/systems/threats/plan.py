"""The configuration of threat detection as the engine takes it."""

from seawall.systems.threats.inspection.policy import Caps, Exclusion, OverCap, Policy, Thresholds
from seawall.systems.threats.model import Action, Level, Mode, PlaceKind
from seawall.systems.threats.settings import ThreatDetectionSettings

__all__ = ["policy_of"]


def policy_of(settings: ThreatDetectionSettings) -> Policy:
    """Return the policy that settings describe."""
    caps, scores, actions = settings.caps, settings.thresholds, settings.actions
    return Policy(
        mode=Mode(settings.mode) if settings.enabled else Mode.OFF,
        paranoia=settings.paranoia,
        thresholds=Thresholds(scores.low, scores.medium, scores.high, scores.critical),
        caps=Caps(caps.bytes, caps.values, caps.depth, caps.part_bytes),
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
