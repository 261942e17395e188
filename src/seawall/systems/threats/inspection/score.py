"""What findings weigh together: a sum over classes with interactions, and from it the level of a request."""

from collections.abc import Iterable

from seawall.systems.threats.inspection.policy import Thresholds
from seawall.systems.threats.model import Finding, Level, ThreatClass

__all__ = ["FEATURES", "PARANOIA_FACTORS", "WEIGHTS", "features", "level_of", "score"]

FEATURES = ("low", "medium", "high", "critical", "second-rule", "second-class", "second-place", "hidden", "ambiguous")
"""Severity terms take the strongest finding of each class; the others are interactions between findings."""

WEIGHTS: tuple[float, ...] = (2.0, 4.8, 9.0, 9.5, 1.7, 1.0, 0.5, 1.3, -1.0)
"""Points by feature.

Fitted by `benchmarks/threats/fit.py` on HttpParamsDataset, grananqvist's set and a public access log, as printed on
AMD EPYC with Python 3.11, and rounded towards the prior. `second-class` and `second-place` are the prior's: the sets
hold one value a request. So is `ambiguous`: honest text that leaves a detector in doubt is missing from the sets.
"""

PARANOIA_FACTORS = (1.0, 0.75, 0.5, 0.3)
"""What thresholds are multiplied with, by paranoia 1 to 4."""

_HIDDEN = 2
_AMBIGUOUS = 0.6


def features(findings: Iterable[Finding]) -> tuple[float, ...]:
    """Return the features of a request's findings, in the order of `FEATURES`.

    - Severity: for each class its strongest finding, by the square of its confidence, so that doubt weighs little.
      Doubts do not add up, as long honest texts raise many of them: below 0.6 only the strongest of all counts.
    - second-rule: further rules of a class that is there already, by confidence where it is 0.6 or more, at most 2.
    - second-class: further classes with a finding of confidence 0.6 or more, at most 2.
    - second-place: further places with a finding of confidence 0.6 or more, at most 2.
    - hidden: the strongest finding was behind two decodings or more, by its confidence.
    - ambiguous: nothing has a confidence of 0.6 or more.
    """
    strongest: dict[ThreatClass, Finding] = {}
    rules: dict[str, Finding] = {}
    places = set()
    for finding in findings:
        if finding.confidence >= _AMBIGUOUS:
            places.add(finding.place)
        best = strongest.get(finding.category)
        if best is None or _weight(finding) > _weight(best):
            strongest[finding.category] = finding
        known = rules.get(finding.rule)
        if known is None or finding.confidence > known.confidence:
            rules[finding.rule] = finding
    if not strongest:
        return (0.0,) * len(FEATURES)
    severities = [0.0] * 4
    top = max(strongest.values(), key=_weight)
    for finding in strongest.values():
        if finding is top or finding.confidence >= _AMBIGUOUS:
            severities[finding.severity - 1] += finding.confidence**2
    named = {finding.rule for finding in strongest.values()}
    second_rules = sum(
        finding.confidence for rule, finding in rules.items() if rule not in named and finding.confidence >= _AMBIGUOUS
    )
    classes = sum(finding.confidence >= _AMBIGUOUS for finding in strongest.values())
    return (
        *severities,
        min(second_rules, 2.0),
        float(min(max(classes - 1, 0), 2)),
        float(min(max(len(places) - 1, 0), 2)),
        top.confidence if len(top.chain) >= _HIDDEN else 0.0,
        float(top.confidence < _AMBIGUOUS),
    )


def score(findings: Iterable[Finding]) -> float:
    """Return the score of a request, 0 and above; it depends on no order, and costs some microseconds."""
    total = sum(weight * value for weight, value in zip(WEIGHTS, features(findings), strict=True))
    return max(0.0, round(total, 3))


def level_of(points: float, thresholds: Thresholds, paranoia: int) -> Level:
    """Return the level that a score has at a level of paranoia."""
    factor = PARANOIA_FACTORS[paranoia - 1]
    if points >= thresholds.critical * factor:
        return Level.CRITICAL
    if points >= thresholds.high * factor:
        return Level.HIGH
    if points >= thresholds.medium * factor:
        return Level.MEDIUM
    return Level.LOW if points >= thresholds.low * factor else Level.NONE


def _weight(finding: Finding) -> tuple[float, str, int]:
    # All that tells findings apart for the score, so that their order does not matter.
    return finding.severity * finding.confidence**2, finding.rule, len(finding.chain)
