"""The admin API on its own port, inside the control process's event loop."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import TextIO

import uvicorn
from fastapi import FastAPI

from seawall.admin.app import create_app
from seawall.admin.authentication import Authenticator, ensure_admin_token
from seawall.admin.listener import Listener
from seawall.admin.protocol import MAX_HEAD_BYTES, BoundedProtocol
from seawall.config.admin import AdminSettings
from seawall.control.plane import ControlPlane
from seawall.core.clock import Clock, SystemClock
from seawall.core.errors import StateError

__all__ = ["AdminServer"]

MAX_CONNECTIONS = 256
"""Open connections; what is above gets a bare 503."""
KEEPALIVE = 15
DRAIN = 2
"""Seconds that requests in flight may take to finish when the server stops."""
TOKEN_RETRY = 1.0

_log = logging.getLogger("seawall.admin")


class AdminServer:
    """Serves `create_app` on `settings.listen`.

    h11 reads the requests: of the parsers at hand it alone bounds a request's head, and the admin API needs no speed.

    Args:
        plane: the control plane.
        settings: where to listen; port 0 takes a free one, `unix:/path` a Unix socket for this user only.
        clock: the machine's unless given.
        out: where a first token is printed; standard error unless given.
        listener: a socket that listens already, in place of `settings.listen`, so that a taken address is told before
            the plane starts; it is closed by `stop`.
    """

    def __init__(
        self,
        plane: ControlPlane,
        settings: AdminSettings,
        *,
        clock: Clock | None = None,
        out: TextIO | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._plane = plane
        self._settings = settings
        self._clock = clock or SystemClock()
        self._out = out
        self._listener = listener
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._waiting_for_state: asyncio.Task[None] | None = None
        self._address = settings.listen if listener is None else listener.address

    @property
    def address(self) -> str:
        """`host:port`, `[v6]:port` or `unix:/path`; after `start` with the port that was taken."""
        return self._address

    async def start(self) -> None:
        """Listen where that is not done yet, see to a first token, and serve.

        Raises:
            SeawallError: the address cannot be listened on.
        """
        app = create_app(self._plane, self._settings, clock=self._clock)
        if self._listener is None:
            self._listener = await Listener.open(self._settings.listen)
        self._address = self._listener.address
        try:
            authenticator: Authenticator = app.state.authenticator
            if not authenticator.has_static_token:
                await self._first_token()
            await self._serve(app, self._listener)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, give requests in flight `DRAIN` seconds, free the address; twice is harmless."""
        if self._waiting_for_state is not None:
            self._waiting_for_state.cancel()
            await asyncio.gather(self._waiting_for_state, return_exceptions=True)
            self._waiting_for_state = None
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _serve(self, app: FastAPI, listener: Listener) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                # Below that it logs every malformed request, so that anyone could fill the log.
                log_level="error",
                access_log=False,
                # The peer's address goes into the audit trail: what a client writes about itself does not.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_keep_alive=KEEPALIVE,
                timeout_graceful_shutdown=DRAIN,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener.socket]), name="admin-api")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await self._serving

    async def _first_token(self) -> None:
        try:
            await ensure_admin_token(self._plane.store, self._clock, out=self._out)
        except StateError as error:
            _log.warning("whether an admin token exists cannot be told before the state is back: %s", error.message)
            self._waiting_for_state = asyncio.create_task(self._first_token_later(), name="admin-first-token")

    async def _first_token_later(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_RETRY)
            with contextlib.suppress(StateError):  # said once, in _first_token; health tells of the store all along
                await ensure_admin_token(self._plane.store, self._clock, out=self._out)
                return


class _Server(uvicorn.Server):
    """Uvicorn as a guest in a loop that is not its own: it takes no signals and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()
