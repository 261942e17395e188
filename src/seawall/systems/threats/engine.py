"""Inspection of one request: values, views, one scan for triggers, the detectors that those name, and a verdict."""

from collections.abc import Sequence

from seawall.core.errors import ConfigurationError
from seawall.core.request import Request
from seawall.systems.threats.detector import Detector
from seawall.systems.threats.detectors.registry import DETECTORS
from seawall.systems.threats.inspection.bodies import add_body
from seawall.systems.threats.inspection.decoding import View, views
from seawall.systems.threats.inspection.documents import json_paths
from seawall.systems.threats.inspection.exclusions import Excluder
from seawall.systems.threats.inspection.fastexit import Seen
from seawall.systems.threats.inspection.policy import Exclusion, OverCap, Policy
from seawall.systems.threats.inspection.prefilter import CompileGroups, Matcher, trigger_groups
from seawall.systems.threats.inspection.score import level_of, score
from seawall.systems.threats.inspection.values import ODD_CODES, Basket, Item, Scope, add_head
from seawall.systems.threats.model import Action, Finding, Level, Mode, Place, PlaceKind, ThreatClass, Verdict

__all__ = ["ThreatEngine"]

_MAX_FINDINGS = 32
# A long text is read in pieces that overlap by more than an attack is long: only those in which there is a trigger cost
# more than the scan, and no detector's cost can grow with more than the length.
_CHUNK = 16_384
_OVERLAP = 1024
_MAX_SPAN = 128
_MAX_NAME = 128
_MIN_CONFIDENCE = 0.3
# Percent codes are how these travel, so the code itself says nothing, unless it is one that no client makes.
_PERCENT_CODED = frozenset({PlaceKind.QUERY, PlaceKind.FORM})
# An uploaded text may be anything; these are about what happens to it on arrival.
_FILE_CLASSES = frozenset({ThreatClass.WEB_SHELL, ThreatClass.XXE, ThreatClass.CODE_INJECTION})
# What the keys of an object and the values beside them may do together.
_OBJECT_CLASSES = frozenset({ThreatClass.NOSQL_INJECTION, ThreatClass.CODE_INJECTION, ThreatClass.PROTOTYPE_POLLUTION})
# What a document does as a whole, whatever kinds of places a detector looks at besides.
_DOCUMENT_CLASSES = frozenset({ThreatClass.XXE})
_CLEAN = Verdict(action=Action.ALLOW, level=Level.NONE, score=0.0)


class ThreatEngine:
    """Judge requests by what is in them.

    Pure and synchronous; not thread-safe, and meant to be one per worker. A GET of a browser costs some 10 us, most of
    which is Python looking at headers; a body costs in proportion to the values in it that are not inert.

    Args:
        policy: how strict, how much, what not.
        compile_groups: makes the matcher of the detectors' triggers.
        detectors: those that are asked; all by default.

    Raises:
        ConfigurationError: an exclusion leaves out nothing that is found.
    """

    __slots__ = ("_actions", "_asked", "_detectors", "_excluder", "_matcher", "_seen", "policy")

    def __init__(
        self, policy: Policy, compile_groups: CompileGroups, detectors: Sequence[Detector] = DETECTORS
    ) -> None:
        self.policy = policy
        self._detectors = tuple(detectors)
        self._matcher: Matcher = compile_groups(trigger_groups(detectors))
        self._seen = {kind: Seen() for kind in PlaceKind}
        self._actions = dict(policy.actions)
        # What each (kind, scope) is shown to, as a set of indexes of detectors.
        self._asked = {
            (kind, scope): frozenset(
                index for index, detector in enumerate(self._detectors) if _looks_at(detector, kind, scope)
            )
            for kind in PlaceKind
            for scope in Scope
        }
        self._excluder = Excluder((), policy.rules)
        for number, exclusion in enumerate(policy.exclusions):
            self._prove(number, exclusion)
        self._excluder = Excluder(policy.exclusions, policy.rules)

    @property
    def backend(self) -> str:
        """The library that matches triggers: `hyperscan`, `re2` or `re`."""
        return self._matcher.backend

    def inspect(self, request: Request, body: bytes = b"") -> Verdict:
        """Judge a request with its body, or with as much of it as there is.

        The verdict does not depend on the order of header fields or on the case of their names. Time is linear in the
        bytes of the request; bounds are those of the policy. Never raises.
        """
        policy = self.policy
        if policy.mode is Mode.OFF:
            return _CLEAN
        basket = Basket(self._seen, policy.caps, self._matcher.ends)
        add_head(request, basket)
        if body:
            head = len(basket.items)
            add_body(request, body, basket, policy.over_cap)
            if basket.partial and policy.over_cap is OverCap.PASS:
                del basket.items[head:]
        findings = self._findings(basket, request)
        if not findings:
            if not basket.partial:
                return _CLEAN
            if policy.over_cap is not OverCap.REJECT:
                return Verdict(action=Action.ALLOW, level=Level.NONE, score=0.0, partial=basket.partial)
        return self._verdict(findings, basket.partial)

    def _findings(self, basket: Basket, request: Request) -> list[Finding]:
        items = basket.items
        if not items:
            return []
        texts, owners = _forms(items)
        hits: list[tuple[Item, Finding]] = []
        matching: list[View] = []
        before: Item | None = None
        for index in self._matcher.candidates(texts):
            item, chain = owners[index]
            if before is not None and item is not before:
                self._look(before, matching, hits, basket)
                matching = []
            before = item
            matching.append((texts[index], chain))
        if before is not None:
            self._look(before, matching, hits, basket)
        if not hits:
            if not basket.partial:
                basket.remember()
            return []
        return self._named(hits, basket, request)

    def _look(self, item: Item, forms: list[View], hits: list[tuple[Item, Finding]], basket: Basket) -> None:
        """Ask the detectors whose triggers are in a view; of each rule the strongest finding in a value counts."""
        kind, _, _, is_name, scope = item
        asked = self._asked[kind, scope]
        match = self._matcher.match
        best: dict[str, Finding] = {}
        for text, chain in forms:
            for index in match(text):
                if index not in asked or not basket.affords(len(text)):
                    continue
                detector = self._detectors[index]
                for signal in detector.scan(text, kind):
                    known = best.get(signal.rule)
                    if signal.confidence < _MIN_CONFIDENCE or (known and known.confidence >= signal.confidence):
                        continue
                    best[signal.rule] = Finding(
                        rule=signal.rule,
                        category=signal.category or detector.category,
                        owasp=detector.owasp,
                        severity=signal.severity,
                        confidence=signal.confidence,
                        place=Place(kind, "", is_name),
                        span=text[signal.start : min(signal.end, signal.start + _MAX_SPAN)],
                        chain=chain,
                    )
        hits.extend((item, finding) for finding in best.values())

    def _named(self, hits: list[tuple[Item, Finding]], basket: Basket, request: Request) -> list[Finding]:
        """Give places their names, and leave out what is excluded."""
        wanted = {item[1] for item, _ in hits if isinstance(item[1], int)}
        paths = json_paths(basket.json_text, wanted) if wanted else {}
        findings: dict[Finding, None] = {}
        for (kind, name, _, is_name, _), finding in hits:
            known = paths.get(name, "") if isinstance(name, int) else name
            place = Place(kind, known[:_MAX_NAME], is_name)
            if not self._excluder.excludes(finding, place, request.path):
                named = Finding(
                    rule=finding.rule,
                    category=finding.category,
                    owasp=finding.owasp,
                    severity=finding.severity,
                    confidence=finding.confidence,
                    place=place,
                    span=finding.span,
                    chain=finding.chain,
                )
                findings[named] = None
        return sorted(findings, key=_rank)

    def _verdict(self, findings: list[Finding], partial: str) -> Verdict:
        policy = self.policy
        points = score(finding for finding in findings if self._excluder.acts(finding))
        level = level_of(points, policy.thresholds, policy.paranoia)
        action = self._actions.get(level, Action.ALLOW)
        if partial and policy.over_cap is OverCap.REJECT:
            action = Action.BLOCK
        if policy.mode is Mode.LOG:
            action = Action.ALLOW
        return Verdict(
            action=action, level=level, score=points, findings=tuple(findings[:_MAX_FINDINGS]), partial=partial
        )

    def _prove(self, number: int, exclusion: Exclusion) -> None:
        """Make sure that an exclusion's example is found where it is meant, and not once it is excluded."""
        kind = exclusion.kinds[0] if exclusion.kinds else PlaceKind.QUERY
        item: Item = (kind, exclusion.name, exclusion.example, False, Scope.ALL)
        hits: list[tuple[Item, Finding]] = []
        self._look(item, views(exclusion.example), hits, Basket(self._seen, self.policy.caps))
        excluder = Excluder((exclusion,), ())
        place = Place(kind, exclusion.name)
        path = exclusion.path.encode()
        if any(excluder.excludes(finding, place, path) for _, finding in hits):
            return
        found = ", ".join(sorted({finding.rule for _, finding in hits})) or "nothing"
        raise ConfigurationError(
            f'threats.exclusions[{number}] has no effect: "{exclusion.rule}" does not find its example',
            hint=f"in {kind} the example is found by {found}; correct the rule or the example, or remove the exclusion",
        )


def _forms(items: list[Item]) -> tuple[list[str], list[tuple[Item, tuple[str, ...]]]]:
    """Return every form of every value, and for each of them the value and the steps that led to it."""
    texts: list[str] = []
    owners: list[tuple[Item, tuple[str, ...]]] = []
    for item in items:
        forms = views(item[2])
        text = item[2]
        if len(forms) > 1 and item[0] in _PERCENT_CODED and _is_usual(text):
            del forms[0]
        for text, chain in forms:
            if len(text) <= _CHUNK or item[4] is Scope.WHOLE:
                texts.append(text)
                owners.append((item, chain))
            else:
                chunks = [text[at : at + _CHUNK] for at in range(0, len(text) - _OVERLAP, _CHUNK - _OVERLAP)]
                texts += chunks
                owners += [(item, chain)] * len(chunks)
    return texts, owners


def _is_usual(text: str) -> bool:
    """Tell whether a text is percent-coded as any client does, and in no other way."""
    return "%" in text and "&" not in text and "\\" not in text and ODD_CODES.search(text) is None


def _looks_at(detector: Detector, kind: PlaceKind, scope: Scope) -> bool:
    if scope is Scope.WHOLE:
        return kind in detector.kinds or (kind is PlaceKind.XML and detector.category in _DOCUMENT_CLASSES)
    if scope is Scope.OBJECT:
        return detector.category in _OBJECT_CLASSES
    if detector.kinds and kind not in detector.kinds:
        return False
    return scope is Scope.ALL or detector.category in _FILE_CLASSES


def _rank(finding: Finding) -> tuple[object, ...]:
    place = finding.place
    where = (place.kind, place.name, place.is_name)
    return -finding.severity, -finding.confidence, finding.rule, where, finding.span, finding.chain
