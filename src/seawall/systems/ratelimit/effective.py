"""Effective limits: what role, endpoint, load, threats, violations and operators make of a rule's, for one request."""

from collections.abc import Callable, Sequence

from seawall.systems.ratelimit.keys import KeyBuilder, LimitContext, subject_builders
from seawall.systems.ratelimit.leases import window_asks
from seawall.systems.ratelimit.model import Factors, Override, Penalty, RateLimitSnapshot
from seawall.systems.ratelimit.rules import CompiledRule, Limits, Whole

__all__ = ["EffectiveLimits"]


class EffectiveLimits:
    """Effective limits under the newest snapshot.

    Args:
        wall: gives seconds since the Unix epoch, for overrides.

    Attributes:
        personal: whether there are limits of single subjects.
    """

    __slots__ = ("_overridden", "_snapshot", "_threatened", "_wall", "personal")

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._snapshot = RateLimitSnapshot(version=-1)
        self._overridden: tuple[KeyBuilder, ...] = ()
        self._threatened: tuple[KeyBuilder, ...] = ()
        self.personal = False

    def apply(self, snapshot: RateLimitSnapshot) -> None:
        """Take over a newer snapshot."""
        self._snapshot = snapshot
        self.personal = bool(snapshot.overrides or snapshot.threats)
        self._overridden = subject_builders(snapshot.overrides)
        self._threatened = subject_builders(snapshot.threats)

    def common(self, rule: CompiledRule, context: LimitContext, role: str) -> Limits:
        """Return the limits of this process, for subjects that have none of their own."""
        if rule.by_method:
            found = rule.cache.get((role, context.method, context.pool))
            if found is not None:
                return found
        return rule.limits(context, role, self._load(context), self._snapshot.threat)

    def common_whole(self, rule: CompiledRule, context: LimitContext, role: str) -> Whole:
        """Return the limits of all processes together, for subjects that have none of their own."""
        if rule.by_method:
            found = rule.whole.get((role, context.method, context.pool))
            if found is not None:
                return found
        return rule.whole_limits(context, role, self._load(context), self._snapshot.threat)

    def own(self, rule: CompiledRule, context: LimitContext, key: str, role: str, penalty: Penalty | None) -> Limits:
        """Return the limits of this process for a request, whatever applies to it."""
        common = self.common(rule, context, role)
        changed = self._changed(rule, context, key, common[1], penalty)
        return common if changed is None else rule.scale(*changed)

    def own_whole(
        self, rule: CompiledRule, context: LimitContext, key: str, role: str, penalty: Penalty | None
    ) -> Whole:
        """Return the limits of all processes together for a request, whatever applies to it."""
        common = self.common_whole(rule, context, role)
        changed = self._changed(rule, context, key, common[1], penalty)
        if changed is None:
            return common
        limits = rule.effective(*changed)
        return limits, changed[0], common[2], window_asks(rule.windows, limits, 1.0)

    def _load(self, context: LimitContext) -> float:
        load = self._snapshot.load
        return load.get(context.pool, load.get("", 1.0))

    def _changed(
        self, rule: CompiledRule, context: LimitContext, key: str, shared: Factors, penalty: Penalty | None
    ) -> tuple[Factors, float | None] | None:
        """Return the factors and the override of a subject of its own; None where nothing is its own."""
        snapshot = self._snapshot
        override, threat = None, 1.0
        if self._overridden:
            subjects = (key, *[build(context) for build in self._overridden])
            own = [snapshot.overrides[subject] for subject in subjects if subject in snapshot.overrides]
            override = _override(own, rule.id, self._wall())
        if self._threatened and rule.snapshot.adaptive:
            subjects = (key, *[build(context) for build in self._threatened])
            threat = min([snapshot.threats.get(subject, 1.0) for subject in subjects])
        if override is None and threat >= 1.0 and penalty is None:
            return None
        factors = Factors(
            role=shared.role,
            endpoint=shared.endpoint,
            load=shared.load,
            threat=shared.threat * threat,
            violations=1.0 if penalty is None else penalty.factor,
        )
        return factors, override


def _override(overrides: Sequence[Override], rule: str, wall: float) -> float | None:
    """Return the limit of the first override in force for a rule; one for that very rule goes before one for all."""
    usable = [one for one in overrides if one.rule in {"", rule} and wall < one.until]
    usable.sort(key=lambda one: not one.rule)
    return usable[0].limit if usable else None
