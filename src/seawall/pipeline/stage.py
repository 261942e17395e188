"""What a stage of the pipeline offers; a stage overrides what it needs."""

from typing import ClassVar

from seawall.core.identity import TrustedProxies
from seawall.pipeline.passage import Passage, Refusal, Rewrite, Verdict

__all__ = ["Stage"]


class Stage:
    """One step of the pipeline: an engine, and how a request is put to it.

    Attributes:
        name: for logs.
        fails_open: whether requests go on when the stage itself fails, rather than being refused.
        active: whether there is anything to decide; a stage that is not active costs nothing.
        rewrites: whether `rewrite` is to be asked.
        replaces: names, in lower case, of an upstream's response fields that give way to this stage's own.
        keeps: names, in lower case, of request fields that never go upstream as they came.
    """

    name: ClassVar[str]
    fails_open: ClassVar[bool]

    def __init__(self) -> None:
        self.active = False
        self.rewrites = False
        self.replaces: frozenset[bytes] = frozenset()
        self.keeps: frozenset[bytes] = frozenset()

    def refresh(self) -> None:
        """Look at the engine's snapshot: set the attributes, precompute."""
        raise NotImplementedError

    def enter(self, passage: Passage) -> Verdict:
        """Decide, or say WAITING and call `Pipeline.resume` later, from the event loop.

        What this stage has for the response goes to `passage.fields`, what it has for the upstream to `passage.added`;
        to be told the end, it sets `passage.holds`. To see the body first, it sets `passage.hold` and says WAITING; the
        body then comes to `take_body`.
        """
        raise NotImplementedError

    def take_body(self, passage: Passage, body: bytes, *, whole: bool) -> Verdict:  # noqa: ARG002 - an answer for stages that ask for none
        """Decide on a request whose body this stage asked for.

        Args:
            passage: the request.
            body: all of it, or as many bytes as were asked for.
            whole: whether it is all.
        """
        return None

    def expire(self, passage: Passage) -> None:
        """Stop waiting: decide with what is known. Nothing where this stage does not wait for this request."""

    def leave(self, passage: Passage) -> None:
        """Give back what the request holds; called when it ends, however it does, and perhaps again."""

    def refund(self, passage: Passage) -> None:
        """Give back what the request cost: it was not served, for no fault of its own."""

    def rewrite(self, passage: Passage) -> Rewrite | Refusal:  # noqa: ARG002 - an answer for stages that change nothing
        """Return how the request's fields change on its way upstream."""
        return Rewrite()

    def trust(self, proxies: TrustedProxies) -> None:
        """Take note of the proxies whose word on a request counts; called when settings change."""

    def slow(self, client: str, how: str) -> None:
        """Take note that a client held a connection by hardly doing anything; see `Pipeline.on_slow`."""

    def refuses(self, client: str) -> bool:  # noqa: ARG002 - an answer for stages that refuse by what is asked
        """Whether a client is refused whatever it asks, so that it need not be waited for."""
        return False

    def sweep(self) -> None:
        """Do what is to be done every 100 ms."""

    def measure(self, lag: float) -> None:
        """Tell the engine what it is to report besides its own counts; called right before reports are collected.

        Args:
            lag: seconds by which the event loop was late at most since the last call.
        """

    def close(self) -> None:
        """Give back everything: this process takes no more requests."""
