"""The admin API's HTTP/1.1 reader: h11 under uvicorn, with a limit on time as well as on size."""

import asyncio
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from seawall.admin.problems import PROBLEM_TYPE, ProblemError

__all__ = ["HEAD_TIMEOUT", "MAX_HEAD_BYTES", "BoundedProtocol"]

MAX_HEAD_BYTES = 32_768
_SLICE = 4096
HEAD_TIMEOUT = 10.0
"""Seconds in which a request's head must have arrived."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that does not wait for a slow request head, and that refuses in problem+json."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and go on waiting unless the head is complete."""
        # h11 looks at the size of a head only while it is incomplete: given in one piece, any head would pass.
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _SLICE])
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too much of it, and close."""
        self._unwatch()
        del msg
        hint = f"a request's head has at most {MAX_HEAD_BYTES} bytes"
        response = ProblemError(400, "The request is not valid HTTP.", code="malformed-request", hint=hint).response("")
        body = bytes(response.body)
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            head = h11.Response(
                status_code=400,
                reason=HTTPStatus.BAD_REQUEST.phrase.encode(),
                headers=[
                    ("Content-Type", PROBLEM_TYPE),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    ("Connection", "close"),
                ],
            )
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _watch(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_TIMEOUT, self._late)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
