"""One active health check over the wire: a TCP connect, or one HTTP/1.1 request with strict bounds on what is read."""

import asyncio
import socket
import ssl

import httptools
import msgspec

from seawall.core.clock import Clock
from seawall.systems.balancing.endpoint import Endpoint
from seawall.systems.balancing.health import CheckPolicy, CheckResult

__all__ = ["CheckTarget", "check"]

_BODY_LIMIT = 64 * 1024
_HEAD_LIMIT = 32 * 1024
_READ = 16 * 1024


class CheckTarget(msgspec.Struct, frozen=True):
    """What to check: an endpoint, the addresses its name stands for (may be empty), and how to do TLS."""

    endpoint: Endpoint
    addresses: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class _Response:
    """What httptools tells about a response, as far as a check needs it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.body = bytearray()
        self.complete = False
        self.head = False

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        self.body += body[: _BODY_LIMIT - len(self.body)]

    def on_message_complete(self) -> None:
        self.complete = self.head  # a 1xx response is followed by the real one


async def check(target: CheckTarget, policy: CheckPolicy, clock: Clock) -> CheckResult:
    """Check one instance once; never raises but for cancellation, and ends within the policy's timeout.

    Reads at most 32 KiB of head and 64 KiB of body, and the body only when something is expected in it.
    """
    started = clock.monotonic()
    try:
        async with asyncio.timeout(policy.timeout):
            reason = await _attempt(target, policy)
    except TimeoutError:
        reason = f"timed out after {policy.timeout * 1000:.0f} ms"
    except (OSError, ssl.SSLError, httptools.HttpParserError) as error:
        reason = _reason(error)
    elapsed = clock.monotonic() - started
    return CheckResult(not reason, reason or _ok_reason(policy), elapsed)


def _ok_reason(policy: CheckPolicy) -> str:
    return "connected" if policy.kind == "tcp" else f"status as expected ({policy.expect_status})"


async def _attempt(target: CheckTarget, policy: CheckPolicy) -> str:
    """Return why the check failed, or nothing."""
    reader, writer = await _connect(target)
    try:
        if policy.kind == "tcp":
            return ""
        return await _exchange(reader, writer, target, policy)
    finally:
        writer.transport.abort()  # an orderly TLS goodbye would wait for a peer that may be stuck


async def _connect(target: CheckTarget) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    endpoint = target.endpoint
    if endpoint.scheme == "unix":
        return await asyncio.open_unix_connection(endpoint.path, limit=_READ)
    name = (target.server_name or endpoint.host) if target.tls else None
    failure: OSError | None = None
    for address in target.addresses or (endpoint.host,):
        try:
            return await asyncio.open_connection(
                address, endpoint.port, ssl=target.tls, server_hostname=name, limit=_READ
            )
        except OSError as error:
            failure = error
    raise failure or OSError("no address to connect to")


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: CheckTarget, policy: CheckPolicy
) -> str:
    host = policy.host or target.endpoint.authority
    writer.write(
        f"GET {policy.path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: seawall-health-check\r\n"
        "accept: */*\r\nconnection: close\r\n\r\n".encode("latin-1")
    )
    response = _Response()
    taken = 0
    while not response.complete and not (response.head and (not policy.expect_body or _decided(response, policy))):
        chunk = await reader.read(_READ)
        if not chunk:
            break
        taken += len(chunk)
        response.parser.feed_data(chunk)
        if not response.head and taken > _HEAD_LIMIT:
            return f"response head above {_HEAD_LIMIT // 1024} KiB"
    if not response.head:
        return "connection closed before a response"
    if not any(low <= response.status <= high for low, high in policy.expect_ranges):
        return f"status {response.status}, expected {policy.expect_status}"
    if policy.expect_body and policy.expect_body not in response.body:
        return f"body lacks the expected text in its first {_BODY_LIMIT // 1024} KiB"
    return ""


def _decided(response: _Response, policy: CheckPolicy) -> bool:
    """Return whether reading on cannot change the verdict."""
    return len(response.body) >= _BODY_LIMIT or policy.expect_body in response.body


def _reason(error: Exception) -> str:  # noqa: PLR0911 - one line per cause, which an operator reads
    match error:
        case ConnectionRefusedError():
            return "connect refused"
        case ConnectionResetError() | BrokenPipeError():
            return "connection reset"
        case socket.gaierror():
            return f"name not resolved: {error.strerror}"
        case ssl.SSLCertVerificationError():
            return f"TLS verification failed: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case FileNotFoundError():
            return "socket does not exist"
        case OSError():
            return f"connect failed: {error.strerror or error}"
        case _:
            return f"malformed response: {error}"
