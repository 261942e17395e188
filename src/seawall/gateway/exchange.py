"""One request on its way, to exactly one answer; one state machine in one file: its callbacks share all its state."""

import time
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Protocol

from seawall.core.request import IDEMPOTENT_METHODS, Header, Request
from seawall.gateway.forwarding import RESPONSE_DROPPED, RequestFields, response_head
from seawall.gateway.framing import CHUNKED, NO_BODY, RequestHead
from seawall.gateway.problem import Problem, own_response, problem_response
from seawall.gateway.upstream import UNTIL_CLOSE, UpstreamConnection
from seawall.pipeline.passage import WAITING, Passage, Refusal, Rewrite
from seawall.systems.balancing.counters import Instance, Pool
from seawall.systems.balancing.model import Outcome

if TYPE_CHECKING:
    from seawall.gateway.runtime import Runtime

__all__ = ["ClientLink", "Exchange", "Phase"]

_BUFFER_LIMIT = 65_536
"""Bytes of request body taken before an upstream connection exists; then the client is paused."""
_MAX_FULL_QUEUES = 3
_ADMISSION_TIMEOUT = 0.25
_DROPS_AFTER = 15.0
_DROPS_RATE = 64.0
"""Seconds and bytes per second: a body that is held back and comes more slowly than that is not waited for."""
"""Seconds after which the pipeline has to decide by itself; what it waits for has bounds of its own, far below."""

_monotonic = time.monotonic


class ClientLink(Protocol):
    """The client's side of an exchange."""

    modern: bool
    """Whether the client speaks HTTP/1.1."""
    keep_alive: bool
    """Whether another request may follow on this connection."""
    held: bool
    """Whether reading is paused on behalf of the exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""

    def pause_reading(self) -> None:
        """Take no more bytes from the client for now."""

    def resume_reading(self) -> None:
        """Take bytes from the client again."""

    def refuse_body(self, problem: Problem) -> None:
        """Refuse the request whose body is coming, in its turn, and take nothing more."""

    def on_exchange_end(self) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Break the connection, so that a cut answer cannot look whole."""


class Phase(Enum):
    """Where an exchange is; it only moves downwards, except that a retry goes back to CONNECTING."""

    ADMITTING = auto()
    """The pipeline does not know yet whether the request may pass."""
    HOLDING = auto()
    """The pipeline wants to see the body before it decides."""
    CONNECTING = auto()
    SENDING = auto()
    """The request body is still coming from the client."""
    WAITING = auto()
    """The request is sent; the response head is awaited."""
    RECEIVING = auto()
    DONE = auto()


# Looking a member up on its class costs 30 ns, and a request passes a dozen of these.
_ADMITTING, _HOLDING, _CONNECTING, _SENDING, _WAITING, _RECEIVING, _DONE = Phase
_SUCCESS, _SERVER_ERROR = Outcome.SUCCESS, Outcome.SERVER_ERROR


class Exchange:
    """One request and its answer.

    The client connection feeds it the request body, the upstream connection feeds it the response; both by callback.
    """

    __slots__ = (
        "_attempt_started",
        "_attempts",
        "_bodiless",
        "_body",
        "_body_bytes",
        "_chunked_out",
        "_client",
        "_client_paused",
        "_connection",
        "_deadline",
        "_fields",
        "_fresh",
        "_full_queues",
        "_head",
        "_head_seconds",
        "_id_field",
        "_instance",
        "_last_problem",
        "_out",
        "_passage",
        "_pool",
        "_runtime",
        "_throttled",
        "_total_deadline",
        "_touched",
        "_tried",
        "phase",
        "request",
        "request_complete",
        "status",
    )

    def __init__(self, runtime: "Runtime", client: ClientLink, request: Request, head: RequestHead) -> None:
        self.request = request
        self.request_complete = False
        self.phase = _CONNECTING
        self.status = 0
        """Status sent to the client; 0 before its head is sent."""
        self._runtime = runtime
        self._client = client
        self._head = head
        self._passage: Passage | None = None
        """The request in the pipeline; None where there is nothing to decide."""
        self._pool: Pool | None = None
        self._instance: Instance | None = None
        self._connection: UpstreamConnection | None = None
        self._fields: RequestFields | None = None
        self._tried: list[Instance] = []
        self._attempts = 0
        self._full_queues = 0
        self._attempt_started = 0.0
        self._head_seconds = 0.0
        self._id_field = b""
        self._last_problem: Problem | None = None
        self._fresh = False
        self._body: list[bytes] | None = []
        """What the client sent so far, without frames; None once it cannot be sent again."""
        self._body_bytes = 0
        self._bodiless = False
        self._chunked_out = False
        self._client_paused = False
        self._throttled = False
        """Whether the client ever held the response up: from then on time says nothing about the instance."""
        self._touched = False
        self._deadline = 0.0
        self._total_deadline = inf
        self._out: list[bytes] = []

    @property
    def body_field(self) -> bytes:
        """The field that frames the request body, with its end of line; empty without a body."""
        length = self._head.length
        if length == NO_BODY:
            return b""
        return b"transfer-encoding: chunked\r\n" if length == CHUNKED else b"content-length: %d\r\n" % length

    # the client's side

    def start(self) -> None:
        """Let the pipeline decide, then send the request on; body that follows comes through `on_request_body`."""
        runtime = self._runtime
        pool = runtime.balancing.route(self.request)
        pipeline = runtime.pipeline
        if pool is not None:
            self._total_deadline = runtime.now + pool.snapshot.total_timeout
        if pipeline.stages:
            passage = self._passage = Passage(self.request, "" if pool is None else pool.name, self, self._head.length)
            verdict = pipeline.enter(passage)
            if verdict is WAITING:
                if passage.hold:
                    self.on_hold()
                else:
                    self.phase = _ADMITTING
                    self._deadline = runtime.now + _ADMISSION_TIMEOUT
                return
            if verdict is not None:
                self._turn_away(verdict)
                return
            self._copy_early_body(passage)
        self._proceed(pool)

    def on_admitted(self, refusal: Refusal | None) -> None:
        """Go on after a wait for the pipeline, or end with its refusal."""
        if refusal is not None:
            self._turn_away(refusal)
        else:
            self.phase = _CONNECTING
            if self._passage is not None:
                self._copy_early_body(self._passage)
            self._proceed(self._runtime.balancing.route(self.request))

    def on_hold(self) -> None:
        """Take the body until the pipeline can decide on it; a client that waits for a word is told to send it."""
        self.phase = _HOLDING
        passage, client, head = self._passage, self._client, self._head
        assert passage is not None
        if self.request_complete or self._body_bytes > passage.hold:
            self._show_body(passage)
            return
        self._attempt_started = self._runtime.now
        self._deadline = self._attempt_started + self._idle_limit()
        if head.expects_continue and not self._body_bytes:
            head.expects_continue = False
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if client.held:
            client.resume_reading()

    def _copy_early_body(self, passage: Passage) -> None:
        """Let the pipeline have its copy of what came of the body before it was asked."""
        if passage.peek and self._body:
            passage.take_copy(b"".join(self._body))

    def _show_body(self, passage: Passage) -> None:
        assert self._body is not None
        body = b"".join(self._body)
        whole = self.request_complete and len(body) <= passage.hold
        self._runtime.pipeline.on_body(passage, body[: passage.hold], whole=whole)

    def _proceed(self, pool: Pool | None) -> None:
        runtime = self._runtime
        if pool is None:
            self.refuse(Problem(404, "no-route", "no route takes this host, path, method and fields"))
            return
        rewrite: Rewrite | None = None
        passage = self._passage
        if passage is not None and (runtime.pipeline.rewrites or passage.added):
            found = runtime.pipeline.rewrite(passage)
            if isinstance(found, Refusal):
                self._turn_away(found)
                return
            rewrite = found
        self._pool = pool
        runtime.balancing.count_request(pool)
        self._id_field = b"x-request-id: %b\r\n" % self.request.request_id.encode("latin-1")
        self._fields = runtime.forwarding.request_fields(self.request, self._head, self._id_field, rewrite)
        if self._total_deadline == inf:  # no route took it when it came
            self._total_deadline = runtime.now + pool.snapshot.total_timeout
        self._attempt()
        if pool.snapshot.probe_path:
            runtime.probe(pool)

    def on_request_body(self, data: bytes) -> None:
        """Take a part of the request body."""
        if self.phase is _DONE:
            return
        limit = self._runtime.settings.max_body_bytes
        self._body_bytes += len(data)
        if limit and self._body_bytes > limit:
            self._client.refuse_body(Problem(413, "body-too-large", f"the body is larger than {limit} bytes"))
            return
        passage = self._passage
        if passage is not None and passage.peek:
            passage.take_copy(data)
        self._forward(data)
        if self.phase is _HOLDING and passage is not None and self._body_bytes > passage.hold:
            self._show_body(passage)

    def on_request_end(self) -> None:
        """Take note that the request is complete."""
        self.request_complete = True
        if self.phase is _DONE:
            return
        if self.phase is _HOLDING:
            if self._passage is not None:
                self._show_body(self._passage)
            return
        if self._head.length == CHUNKED and self._connection is not None:
            self._connection.transport.write(b"0\r\n\r\n")
        if self.phase is _SENDING:
            self.phase = _WAITING
            self._await_head()

    def on_client_paused(self) -> None:
        """The client does not take more of the response for now."""
        self._client_paused = self._throttled = True
        self._touched = True
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def on_client_resumed(self) -> None:
        """The client takes more of the response again."""
        self._client_paused = False
        self._touched = True
        if self._connection is not None:
            self._connection.transport.resume_reading()

    def abandon(self) -> None:
        """The client is gone: stop whatever is under way for it."""
        if self.phase is not _DONE:
            self._drop_attempt(Outcome.CANCELLED)
            self._finish()

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed; called every 100 ms."""
        if self._touched:
            self._touched = False
            self._deadline = now + self._idle_limit()
        phase = self.phase
        if (now <= self._deadline and now <= self._total_deadline and not self._drips(now)) or phase is _DONE:
            return
        if phase is _ADMITTING:
            if self._passage is not None:
                self._runtime.pipeline.expire(self._passage)
        elif phase is _HOLDING:
            self._runtime.pipeline.on_slow(self.request.client, "body")
            self._give_up(Problem(408, "request-timeout", "the request body stopped coming"), Outcome.CANCELLED)
        elif phase is _CONNECTING:
            # A connection that is being opened has its own time-out; here ends the wait for one to become free.
            if now > self._total_deadline or self._is_queued():
                self._give_up(
                    Problem(503, "upstream-queue-timeout", "no connection to an instance became free in time", 1),
                    Outcome.CANCELLED,
                )
        elif phase is _SENDING and not self._client_paused and now <= self._total_deadline and self._is_clients_turn():
            self._runtime.pipeline.on_slow(self.request.client, "body")
            self._give_up(Problem(408, "request-timeout", "the request body stopped coming"), Outcome.CANCELLED)
        elif self._client_paused or (phase is _RECEIVING and not self.request_complete and self._is_clients_turn()):
            self._tell_idle(now)
            self._drop_attempt(Outcome.CANCELLED)
            self._finish()
            self._client.abort()
        else:
            self._give_up(
                Problem(504, "upstream-timeout", "the instance that took the request did not answer in time"),
                Outcome.TIMEOUT,
            )

    def reject(self, problem: Problem) -> None:
        """Stop, since the request turned out to be unacceptable while its body came; say so where that is possible."""
        if self.phase is not _DONE:
            self._give_up(problem, Outcome.CANCELLED)

    def refuse(self, problem: Problem) -> None:
        """Answer with a problem; the exchange is over."""
        client = self._client
        extra = b""
        passage = self._passage
        if passage is not None:
            if problem.status == 503:  # no instance took it
                self._runtime.pipeline.refund(passage)
            extra = passage.fields
        self._end_early(problem.status)
        client.write(
            problem_response(
                problem,
                self.request.request_id,
                close=not client.keep_alive,
                head=self.request.method == "HEAD",
                extra=extra,
            )
        )
        client.on_exchange_end()

    def _turn_away(self, refusal: Refusal) -> None:
        """Answer with the pipeline's refusal; the exchange is over."""
        client = self._client
        self._end_early(refusal.status)
        client.write(
            own_response(
                refusal.status,
                refusal.fields,
                refusal.body,
                self.request.request_id,
                close=not client.keep_alive,
                head=self.request.method == "HEAD",
            )
        )
        client.on_exchange_end()

    def _end_early(self, status: int) -> None:
        """Take note of an answer that no instance gave."""
        self.status = status
        self._finish()
        if not self.request_complete:
            self._client.keep_alive = False
        if self._pool is not None:
            self._runtime.balancing.count_response(self._pool, status)

    def _finish(self) -> None:
        self.phase = _DONE
        passage = self._passage
        if passage is not None:
            # The two know each other: left so, each request would be a cycle for the garbage collector to find.
            self._passage = None
            if passage.holds:
                passage.status, passage.seconds = self.status, self._head_seconds
                self._runtime.pipeline.leave(passage)
            else:
                passage.ended = True

    # attempts

    def _attempt(self) -> None:
        runtime = self._runtime
        pool = self._pool
        assert pool is not None
        while True:
            instance = runtime.balancing.pick(pool, self.request, self._tried)
            if instance is None:
                self.refuse(
                    self._last_problem
                    or Problem(503, "no-instance", f"pool {pool.name!r} has no instance that can take requests", 1)
                )
                return
            self._instance = instance
            self._attempts += 1
            runtime.balancing.start(instance)
            self._attempt_started = _monotonic()
            endpoint = instance.transport or runtime.endpoint(instance)
            if not self._fresh:
                connection = endpoint.take(repeatable=self.request.method in IDEMPOTENT_METHODS)
                if connection is not None:
                    self.on_connected(connection)
                    return
            self.phase = _CONNECTING
            self._deadline = runtime.now + pool.snapshot.queue_timeout
            if endpoint.request_connection(self):
                return
            self._settle(Outcome.CANCELLED)
            self._tried.append(instance)
            self._full_queues += 1
            self._last_problem = Problem(503, "upstream-queue-full", "every instance that was asked is at its limit", 1)
            if self._full_queues >= _MAX_FULL_QUEUES:
                self.refuse(self._last_problem)
                return

    def on_connected(self, connection: UpstreamConnection) -> None:
        """Send the request, with what has come of its body."""
        self._connection = connection
        connection.begin(self, head_only=self.request.method == "HEAD")
        fields = self._fields
        pool = self._pool
        body = self._body
        assert fields is not None and pool is not None and body is not None
        if self._client.held:
            self._client.resume_reading()
        if self._client_paused:
            connection.transport.pause_reading()
        kept = pool.snapshot.preserve_host and self.request.host
        head = fields.encode(b"" if kept else connection.endpoint.address.authority)
        connection.transport.write(head + self._framed(body) if self._head.length != NO_BODY else head)
        if self._body_bytes > pool.snapshot.replay_limit:
            self._body = None
        if self.request_complete:
            self.phase = _WAITING
            self._await_head()
        else:
            self.phase = _SENDING
            self._deadline = self._runtime.now + self._idle_limit()

    def on_connect_failed(self, reason: str, *, timed_out: bool) -> None:
        """Try another instance: nothing was sent, so any request may be tried again."""
        self._last_problem = Problem(
            503, "upstream-unreachable", "no instance could be connected to; the last one said no", 1
        )
        self._runtime.log_upstream(self._instance, f"cannot connect: {reason}")
        self._retry(Outcome.TIMEOUT if timed_out else Outcome.CONNECT_FAILED, self._last_problem)

    def on_upstream_lost(self, reason: str, *, malformed: bool) -> None:
        """Try again where that is safe; else answer 502, or break the connection of a response that has begun."""
        connection = self._connection
        self._connection = None
        assert connection is not None
        problem = (
            Problem(502, "upstream-malformed", "the instance answered with something that is not HTTP")
            if malformed
            else Problem(502, "upstream-reset", "the instance closed the connection before it had answered")
        )
        repeatable = self._body is not None and self.request.method in IDEMPOTENT_METHODS and not self.status
        if repeatable and connection.reused and not connection.received and not self._fresh:
            # The instance closed an idle connection just as it was taken: no fault and no retry, if it happens once.
            self._fresh = True
            self._settle(Outcome.CANCELLED)
            self._attempts -= 1
            self._attempt()
            return
        self._runtime.log_upstream(self._instance, reason)
        if repeatable and not malformed:
            self._retry(Outcome.RESET, problem)
        else:
            self._give_up(problem, Outcome.RESET)

    def _retry(self, outcome: Outcome, problem: Problem) -> None:
        pool, instance = self._pool, self._instance
        assert pool is not None and instance is not None
        self._settle(outcome)
        self._tried.append(instance)
        if (
            self._body is None
            or self._attempts > pool.snapshot.retry_attempts
            or not self._runtime.balancing.may_retry(pool)
        ):
            self.refuse(problem)
            return
        self._fresh = False
        self._last_problem = problem
        self._attempt()

    # the upstream's side

    def on_interim(self, status: int, headers: list[Header]) -> None:
        """Pass a 1xx on, to those who can know it."""
        self._touched = True
        if status == 100 and not self._head.expects_continue:
            return
        if self._client.modern:
            head, _ = response_head(status, headers, UNTIL_CLOSE, b"", modern=False, bodiless=True)
            self._client.write(head)

    def on_response(self, status: int, headers: list[Header], length: int) -> None:
        """Send the response head on."""
        runtime, client, instance, pool = self._runtime, self._client, self._instance, self._pool
        assert instance is not None and pool is not None
        self._head_seconds = _monotonic() - self._attempt_started
        self.status = status
        self.phase = _RECEIVING
        self._touched = True
        self._bodiless = status in {204, 304} or self.request.method == "HEAD"
        if not self.request_complete and self._head.expects_continue and not self._body_bytes:
            client.keep_alive = False  # whether the body still comes is the client's choice, and cannot be told apart
        if length < NO_BODY and not self._bodiless:
            if client.modern:
                self._chunked_out = True
            else:
                client.keep_alive = False
        extra = self._own_fields(pool, instance)
        dropped = RESPONSE_DROPPED
        passage = self._passage
        if passage is not None and passage.fields:
            extra += passage.fields
            dropped = runtime.response_dropped
        head, load = response_head(
            status, headers, length, extra, modern=client.modern, bodiless=self._bodiless, dropped=dropped
        )
        if load is not None:
            runtime.balancing.on_load_report(instance, load)
        self._out.append(head)
        runtime.balancing.count_response(pool, status)

    def _own_fields(self, pool: Pool, instance: Instance) -> bytes:
        """Return the fields that every response gets from the gateway, encoded."""
        runtime, client = self._runtime, self._client
        fields = runtime.forwarding.via + self._id_field
        if pool.snapshot.affinity is not None:
            cookie = runtime.balancing.affinity_cookie(pool, self.request, instance)
            if cookie is not None:
                fields += b"set-cookie: %b\r\n" % cookie
        if not client.keep_alive:
            fields += b"connection: close\r\n"
        elif not client.modern:
            fields += b"connection: keep-alive\r\n"
        return fields

    def on_response_body(self, data: bytes) -> None:
        """Send a part of the response body on."""
        self._touched = True
        self._out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_out else data)

    def on_read_end(self) -> None:
        """Write what one read from the upstream brought, at once."""
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()

    def on_response_end(self) -> None:
        """Finish: the last bytes, the figures, the connection back."""
        out = self._out
        if self._chunked_out:
            out.append(b"0\r\n\r\n")
        connection, self._connection = self._connection, None
        self._finish()
        client = self._client
        if out:
            client.write(out[0] if len(out) == 1 else b"".join(out))
        instance = self._instance
        assert connection is not None and instance is not None
        self._instance = None
        latency = self._head_seconds
        self._runtime.balancing.finish(
            instance,
            latency if self._throttled else _monotonic() - self._attempt_started,
            _SUCCESS if self.status < 500 else _SERVER_ERROR,
            self.status,
            latency=latency,
        )
        if self._client_paused:
            connection.transport.resume_reading()
        # What the instance has not taken yet of the request must not stand before the next one.
        connection.release(reusable=self.request_complete and not client.held)
        if not self.request_complete:
            client.keep_alive = False
        client.on_exchange_end()

    def on_upstream_paused(self) -> None:
        """Stop taking the request body while the upstream does not."""
        self._client.pause_reading()

    def on_upstream_resumed(self) -> None:
        """Take the request body again."""
        self._touched = True
        self._client.resume_reading()

    # inside

    def _framed(self, body: list[bytes]) -> bytes:
        """Return what has come of the body as it goes upstream."""
        data = b"".join(body)
        if self._head.length != CHUNKED:
            return data
        framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return framed + b"0\r\n\r\n" if self.request_complete else framed

    def _forward(self, data: bytes) -> None:
        connection, body = self._connection, self._body
        self._touched = True
        if connection is None:
            if body is not None:
                body.append(data)
                if self._body_bytes > _BUFFER_LIMIT and not self.request_complete and self.phase is not _HOLDING:
                    self._client.pause_reading()
            return
        connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._head.length == CHUNKED else data)
        if body is not None:
            pool = self._pool
            if pool is not None and self._body_bytes <= pool.snapshot.replay_limit:
                body.append(data)
            else:
                self._body = None

    def _await_head(self) -> None:
        if self._pool is not None:
            self._deadline = self._runtime.now + self._pool.snapshot.header_timeout

    def _idle_limit(self) -> float:
        pool = self._pool
        if self.phase is _HOLDING:
            return self._runtime.settings.body_timeout_ms / 1000
        if pool is None or self.phase is _CONNECTING:  # pool is None while ADMITTING, too
            return self._deadline - self._runtime.now
        if self.phase is _WAITING:
            return pool.snapshot.header_timeout
        if self.phase is _SENDING or self._client_paused:
            return self._runtime.settings.body_timeout_ms / 1000
        return pool.snapshot.idle_timeout

    def _drips(self, now: float) -> bool:
        """Return whether a body that is waited for comes in drops, each in time, and all of them never."""
        if self.phase is not _HOLDING:
            return False
        elapsed = now - self._attempt_started
        return elapsed > _DROPS_AFTER and self._body_bytes < _DROPS_RATE * elapsed

    def _tell_idle(self, now: float) -> None:
        # An answer that is taken steadily may still be too long for the time that a request has as a whole.
        if now > self._deadline:
            self._runtime.pipeline.on_slow(self.request.client, "read" if self._client_paused else "body")

    def _is_clients_turn(self) -> bool:
        connection = self._connection
        return connection is None or connection.transport.get_write_buffer_size() == 0

    def _is_queued(self) -> bool:
        instance = self._instance
        return instance is not None and instance.transport is not None and instance.transport.is_waiting(self)

    def _settle(self, outcome: Outcome) -> None:
        instance, self._instance = self._instance, None
        if instance is None:
            return
        seconds = _monotonic() - self._attempt_started
        if not self.status:
            self._runtime.balancing.finish(instance, seconds, outcome)
            return
        # The head had come: how long its body went on before it broke off must not pass for latency.
        latency = self._head_seconds
        self._runtime.balancing.finish(instance, latency if self._throttled else seconds, outcome, latency=latency)

    def _drop_attempt(self, outcome: Outcome) -> None:
        connection, self._connection = self._connection, None
        instance = self._instance
        if connection is not None:
            connection.abort()
        elif instance is not None and instance.transport is not None:
            instance.transport.forget(self)
        self._settle(outcome)

    def _give_up(self, problem: Problem, outcome: Outcome) -> None:
        self._drop_attempt(outcome)
        if self.status:
            self._finish()
            self._client.abort()
        else:
            self.refuse(problem)
