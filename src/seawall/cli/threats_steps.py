"""How a request is judged, step by step: what is read, in which forms, what is found in them, and what follows."""

from typing import Any

from seawall.core.request import Request
from seawall.systems.threats.engine import ThreatEngine
from seawall.systems.threats.inspection.bodies import add_body
from seawall.systems.threats.inspection.decoding import views
from seawall.systems.threats.inspection.documents import json_paths
from seawall.systems.threats.inspection.fastexit import Seen
from seawall.systems.threats.inspection.policy import Policy
from seawall.systems.threats.inspection.prefilter import CompileGroups
from seawall.systems.threats.inspection.score import PARANOIA_FACTORS
from seawall.systems.threats.inspection.values import Basket, add_head
from seawall.systems.threats.model import PlaceKind

__all__ = ["steps_of"]

_MAX_VALUES = 200
_MAX_TEXT = 200


def steps_of(policy: Policy, compile_groups: CompileGroups, request: Request, body: bytes) -> dict[str, Any]:
    """Return the steps as plain values for JSON; of values the first 200, and of each text 200 characters.

    Raises:
        ConfigurationError: an exclusion of the policy has no effect.
    """
    verdict = ThreatEngine(policy, compile_groups).inspect(request, body)
    basket = Basket({kind: Seen() for kind in PlaceKind}, policy.caps)
    add_head(request, basket)
    if body:
        add_body(request, body, basket, policy.over_cap)
    numbers = {item[1] for item in basket.items if isinstance(item[1], int)}
    paths = json_paths(basket.json_text, numbers) if numbers else {}
    values = [
        {
            "place": {
                "kind": kind.value,
                "name": _text(paths.get(name, "") if isinstance(name, int) else name),
                "is_name": is_name,
            },
            "forms": [{"chain": list(chain), "text": _text(text)} for text, chain in views(value)],
        }
        for kind, name, value, is_name, _ in basket.items[:_MAX_VALUES]
    ]
    factor = PARANOIA_FACTORS[policy.paranoia - 1]
    marks = policy.thresholds
    return {
        "values": values,
        "left_out": max(len(basket.items) - _MAX_VALUES, 0),
        "findings": [
            {
                "rule": one.rule,
                "class": one.category.value,
                "owasp": one.owasp,
                "severity": one.severity.name.lower(),
                "confidence": round(one.confidence, 3),
                "place": {"kind": one.place.kind.value, "name": _text(one.place.name), "is_name": one.place.is_name},
                "span": _text(one.span),
                "chain": list(one.chain),
            }
            for one in verdict.findings
        ],
        "score": round(verdict.score, 2),
        "thresholds": {
            "low": marks.low * factor,
            "medium": marks.medium * factor,
            "high": marks.high * factor,
            "critical": marks.critical * factor,
        },
        "mode": policy.mode.value,
        "level": verdict.level.value,
        "action": verdict.action.value,
        "partial": verdict.partial,
    }


def _text(text: str) -> str:
    # Escapes may stand for halves of a character, which cannot be encoded.
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode()
