"""Who calls, as a stage: credentials are checked before anything counts by them."""

from collections.abc import Callable

import msgspec

from seawall.core.identity import TrustedProxies
from seawall.pipeline.passage import Passage, Refusal, Rewrite, Verdict
from seawall.pipeline.stage import Stage
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import IdentityRefusal

__all__ = ["IdentityStage"]

_TITLES = {401: "Unauthorized", 503: "Service Unavailable"}


class IdentityStage(Stage):
    """Set `request.identity`, or refuse what is not proven.

    It fails closed: a caller whose credentials cannot be checked must not pass for somebody. A refusal does not end the
    request at once; the limits come first, so that guessing credentials is limited by address like anything else.

    Args:
        engine: decides.
        wall: seconds since the Unix epoch.
    """

    name = "identity"
    fails_open = False

    def __init__(self, engine: IdentityEngine, wall: Callable[[], float]) -> None:
        super().__init__()
        self._engine = engine
        self._wall = wall

    def refresh(self) -> None:
        """Look at the engine's snapshot."""
        self.active = self._engine.active or self._engine.rewrites
        self.rewrites = self._engine.rewrites

    def enter(self, passage: Passage) -> Verdict:
        """Tell who calls; a refusal is kept until the stages after this one have had their say."""
        found = self._engine.identify(passage.request, self._wall())
        if isinstance(found, IdentityRefusal):
            passage.denial = _refusal(found, passage.request.request_id)
        else:
            passage.request.identity = found
        return None

    def trust(self, proxies: TrustedProxies) -> None:
        """Believe these proxies when they say who calls."""
        self._engine.trusted = proxies

    def rewrite(self, passage: Passage) -> Rewrite:
        """Return which credentials and claims stay here, and what the upstream is told of the caller."""
        return Rewrite(*self._engine.upstream_fields(passage.request))


def _refusal(found: IdentityRefusal, request_id: str) -> Refusal:
    body = msgspec.json.encode(
        {
            "type": f"urn:seawall:problem:{found.code}",
            "title": _TITLES.get(found.status, "Error"),
            "status": found.status,
            "detail": found.detail,
            "code": found.code,
            "request_id": request_id,
        }
    )
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if found.challenge:
        fields.append((b"www-authenticate", found.challenge.encode("latin-1")))
    if found.retry_after:
        fields.append((b"retry-after", b"%d" % max(round(found.retry_after), 1)))
    return Refusal(found.status, tuple(fields), body)
