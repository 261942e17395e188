"""One request on its way through the pipeline: what the stages found out, and what they answer."""

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from seawall.core.request import Header, Request

if TYPE_CHECKING:
    from seawall.pipeline.stage import Stage
    from seawall.systems.ratelimit.asking import Ask
    from seawall.systems.ratelimit.engine import Admission
    from seawall.systems.ratelimit.model import LimitResult

__all__ = ["WAITING", "Owner", "Passage", "Refusal", "Rewrite", "Verdict", "Waiting"]


class Refusal(msgspec.Struct, frozen=True):
    """The whole answer to a request that may not go on.

    Attributes:
        status: HTTP status code.
        fields: header fields, `content-type` and `content-length` among them; without `x-request-id` and `connection`.
        body: as announced; whoever sends it leaves it out where HEAD is answered.
    """

    status: int
    fields: tuple[Header, ...]
    body: bytes


class Rewrite(msgspec.Struct, frozen=True):
    """How the fields of a request change on its way upstream.

    Attributes:
        dropped: names, in lower case, of fields that stay here.
        added: fields that are put on.
    """

    dropped: frozenset[bytes] = frozenset()
    added: tuple[Header, ...] = ()


class Waiting(Enum):
    """A stage does not know yet; its owner is told later."""

    WAITING = auto()


WAITING: Final = Waiting.WAITING

Verdict = Refusal | Waiting | None
"""What a stage says to a request: None lets it go on."""


class Owner(Protocol):
    """Whoever sent a request into the pipeline."""

    def on_admitted(self, refusal: Refusal | None) -> None:
        """Take the end of a wait: None lets the request go on.

        Called from the event loop, never from within `Pipeline.enter`, at most once, and not after `Pipeline.leave`.
        """

    def on_hold(self) -> None:
        """Keep the body back until `passage.hold` bytes of it are there, or all of it; then call `Pipeline.on_body`.

        Called when a stage asks for the body after another one had waited; else `Pipeline.enter` returns WAITING with
        `passage.hold` set.
        """


class Passage:
    """One request in the pipeline, from `Pipeline.enter` to `Pipeline.leave`.

    Attributes:
        request: the head.
        pool: name of the pool that it would go to; empty when no route takes it.
        owner: told the end of a wait.
        denial: a refusal that later stages may forestall by one of their own; sent when all of them let it pass.
        length: bytes of its body; negative where that is not known, 0 without one.
        added: fields that stages put on for the upstream.
        hold: bytes of the body that a stage wants to see before it decides; 0 while none does.
        held: bytes of the body that a stage saw.
        peek: bytes of the body that a stage still wants a copy of while it streams; 0 for none.
        copy: what was copied of it.
        waits: the stage that wants to see them.
        route: name of its route, as threat detection counts it; None where that does not look at it.
        account: that it tries to log in to; empty where it tries none.
        trusted: whether threat detection asks nothing of its client.
        stopped: whether threat detection refused it.
        status: that it was answered, known when it leaves; 0 for none.
        seconds: until an instance's answer began, known when it leaves; 0 where none answered.
        admission: what the rate limiter let it pass by, where that was quickly told; else None.
        limit: what it decided otherwise; None before that, and where it did not decide.
        ask: what the rate limiter waits for; None when it waits for nothing.
        fields: fields of the stages for the response, encoded, each with its end of line.
        holds: whether a stage wants to know when the request ends; else `Pipeline.leave` need not be called.
        met: the stages that were active when it entered; whatever it holds is theirs.
        rest: the stages that come after the one that waits.
        ended: whether the request has left.
    """

    __slots__ = (
        "account",
        "added",
        "admission",
        "ask",
        "copy",
        "denial",
        "ended",
        "fields",
        "held",
        "hold",
        "holds",
        "length",
        "limit",
        "met",
        "owner",
        "peek",
        "pool",
        "request",
        "rest",
        "route",
        "seconds",
        "status",
        "stopped",
        "trusted",
        "waits",
    )

    def __init__(self, request: Request, pool: str, owner: Owner, length: int = 0) -> None:
        self.request = request
        self.pool = pool
        self.owner = owner
        self.length = length
        self.added: tuple[Header, ...] = ()
        self.hold = 0
        self.held = 0
        self.peek = 0
        self.copy = b""
        self.waits: Stage | None = None
        self.route: str | None = None
        self.account = ""
        self.trusted = False
        self.stopped = False
        self.status = 0
        self.seconds = 0.0
        self.denial: Refusal | None = None
        self.admission: Admission | None = None
        self.limit: LimitResult | None = None
        self.ask: Ask | None = None
        self.fields = b""
        self.holds = False
        self.met: tuple[Stage, ...] = ()
        self.rest: tuple[Stage, ...] = ()
        self.ended = False

    def take_copy(self, data: bytes) -> None:
        """Keep as much of a part of the body as is still wanted."""
        part = data[: self.peek]
        self.copy += part
        self.peek -= len(part)
