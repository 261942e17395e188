"""The stages that a request passes before it goes upstream, in order, and what becomes of it when one fails."""

from collections.abc import Callable, Sequence

import msgspec

from seawall.core.identity import TrustedProxies
from seawall.pipeline.failures import Failures
from seawall.pipeline.passage import WAITING, Passage, Refusal, Rewrite, Verdict
from seawall.pipeline.stage import Stage

__all__ = ["NO_STAGES", "Pipeline"]


class Pipeline:
    """The order of the stages; each request meets them from first to last, until one refuses it.

    A stage that raises is a defect, and no reason to answer nothing but errors: by its nature it fails open or closed,
    and the defect is counted and logged.

    Args:
        stages: in order.
        monotonic: monotonic seconds.

    Attributes:
        stages: those that have something to decide; empty where nothing is configured, so that a caller need not ask.
        replaces: names, in lower case, of an upstream's response fields that give way where `Passage.fields` has any.
        keeps: names, in lower case, of request fields that never go upstream as they came.
        rewrites: whether `rewrite` is to be asked before a request goes upstream.
        failures: what was counted.

    For one event loop.
    """

    def __init__(self, stages: Sequence[Stage], monotonic: Callable[[], float]) -> None:
        self._all = tuple(stages)
        self.stages: tuple[Stage, ...] = ()
        self.replaces: frozenset[bytes] = frozenset()
        self.keeps: frozenset[bytes] = frozenset()
        self.rewrites = False
        self._lag = 0.0
        self.failures = Failures(monotonic)
        self.refresh()

    def refresh(self) -> None:
        """Look at the engines' snapshots; called after one was applied."""
        for stage in self._all:
            stage.refresh()
        self.stages = tuple(stage for stage in self._all if stage.active)
        self.replaces = frozenset().union(*(stage.replaces for stage in self.stages))
        self.keeps = frozenset().union(*(stage.keeps for stage in self.stages))
        self.rewrites = any(stage.rewrites for stage in self.stages)

    def trust(self, proxies: TrustedProxies) -> None:
        """Tell the stages whose word on a request counts; called when settings change."""
        for stage in self._all:
            stage.trust(proxies)

    def enter(self, passage: Passage, stages: tuple[Stage, ...] | None = None) -> Verdict:
        """Return None when the request may go on, its refusal, or WAITING when its owner is told later.

        Args:
            passage: the request.
            stages: those that it has yet to meet; all that are active by default.
        """
        if stages is None:
            stages = passage.met = self.stages
        for stage in stages:
            try:
                verdict = stage.enter(passage)
            except Exception:  # noqa: BLE001 - see `_failed`
                verdict = self._failed(stage)
            if verdict is not None:
                if verdict is WAITING:
                    passage.waits = stage
                    passage.rest = stages[stages.index(stage) + 1 :]
                return verdict
        return passage.denial

    def resume(self, stage: Stage, passage: Passage, finish: Callable[[], Verdict]) -> None:
        """Go on with a request for which a stage had said WAITING; `finish` gives what it says now."""
        verdict: Verdict
        try:
            verdict = finish()
        except Exception:  # noqa: BLE001 - see `_failed`
            verdict = self._failed(stage)
        if passage.ended:
            self.leave(passage)
            return
        if verdict is None:
            verdict = self.enter(passage, passage.rest)
        if verdict is not WAITING:
            passage.owner.on_admitted(verdict)
        elif passage.hold:
            passage.owner.on_hold()

    def on_body(self, passage: Passage, body: bytes, *, whole: bool) -> None:
        """Show the stage that waits what it wanted to see of the body, and go on.

        Args:
            passage: one with `hold`.
            body: that many bytes of it, or all of it.
            whole: whether it is all.
        """
        stage = passage.waits
        if stage is not None and passage.hold:
            passage.hold = 0
            passage.held = len(body)
            self.resume(stage, passage, lambda: stage.take_body(passage, body, whole=whole))

    def expire(self, passage: Passage) -> None:
        """End the wait of a request: the stage that waits decides with what is known, and the owner is told."""
        for stage in self._all:
            stage.expire(passage)

    def leave(self, passage: Passage) -> None:
        """Take note that the request has ended, however it did; once more does no harm."""
        passage.ended = True
        for stage in passage.met:  # one of them may have nothing to decide any more, and hold something all the same
            try:
                stage.leave(passage)
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def refund(self, passage: Passage) -> None:
        """Give back what the request cost, since it could not be served for want of an instance."""
        for stage in passage.met:
            try:
                stage.refund(passage)
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def rewrite(self, passage: Passage) -> Rewrite | Refusal:
        """Return how the request's fields change on its way upstream.

        A stage that fails here has its request refused, open or not: what it would have taken off may be a claim that
        the upstream believes.
        """
        dropped: frozenset[bytes] = frozenset()
        added = passage.added
        for stage in self.stages:
            if not stage.rewrites:
                continue
            try:
                found = stage.rewrite(passage)
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)
                return _unavailable(stage.name)
            if isinstance(found, Refusal):
                return found
            dropped |= found.dropped
            added += found.added
        return Rewrite(dropped, added)

    def on_slow(self, client: str, how: str) -> None:
        """Take note that a client held a connection by hardly doing anything, until it was cut off.

        Args:
            client: address.
            how: `head`, `body` or `read`: what came, or was taken, too slowly.
        """
        for stage in self.stages:
            try:
                stage.slow(client, how)
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def refuses(self, client: str) -> bool:
        """Return whether a client is refused whatever it asks."""
        for stage in self.stages:
            try:
                if stage.refuses(client):
                    return True
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)
        return False

    def sweep(self) -> None:
        """Let each stage do what it does every 100 ms."""
        for stage in self._all:
            try:
                stage.sweep()
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def on_lag(self, seconds: float) -> None:
        """Take note of how late the event loop was with something that was due."""
        self._lag = max(self._lag, seconds)

    def measure(self) -> None:
        """Let stages complete what their engines report; called right before reports are collected."""
        lag, self._lag = self._lag, 0.0
        for stage in self._all:
            try:
                stage.measure(lag)
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def close(self) -> None:
        """Give back everything that stages hold for requests to come."""
        for stage in self._all:
            try:
                stage.close()
            except Exception:  # noqa: BLE001 - see `_failed`
                self._failed(stage)

    def _failed(self, stage: Stage) -> Refusal | None:
        """Count and log the exception being handled; return what the request is answered."""
        self.failures.add(stage.name, "let through" if stage.fails_open else "refused")
        return None if stage.fails_open else _unavailable(stage.name)


NO_STAGES = Pipeline((), lambda: 0.0)
"""Where nothing is to be decided."""


def _unavailable(name: str) -> Refusal:
    body = msgspec.json.encode(
        {
            "type": "urn:seawall:problem:stage-failed",
            "title": "Service Unavailable",
            "status": 503,
            "detail": f"whether this request may pass cannot be told, since {name} failed",
            "code": "stage-failed",
        }
    )
    fields = (
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"1"),
    )
    return Refusal(503, fields, body)
