"""Who calls, as a stage: credentials are checked before anything counts by them."""

from collections.abc import Callable

from seawall.core.identity import TrustedProxies
from seawall.pipeline.passage import Passage, Refusal, Rewrite, Verdict
from seawall.pipeline.stage import Stage
from seawall.systems.identity.answers import refusal_of
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import IdentityRefusal

__all__ = ["IdentityStage"]


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
            passage.denial = Refusal(*refusal_of(found, passage.request.request_id))
        else:
            passage.request.identity = found
        return None

    def trust(self, proxies: TrustedProxies) -> None:
        """Believe these proxies when they say who calls."""
        self._engine.trusted = proxies

    def rewrite(self, passage: Passage) -> Rewrite:
        """Return which credentials and claims stay here, and what the upstream is told of the caller."""
        return Rewrite(*self._engine.upstream_fields(passage.request))
