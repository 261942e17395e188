"""Alerts on their way to people: a signed webhook, Slack, e-mail; tried again, and never in the way of anything."""

import asyncio
import hmac
import json
import logging
import random
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from seawall.core.clock import Clock
from seawall.core.errors import ConfigurationError, SeawallError
from seawall.systems.threats.alerting import Alert

__all__ = ["AlertChannel", "AlertError", "AlertSender", "EmailChannel", "SlackChannel", "WebhookChannel"]

_log = logging.getLogger("seawall.threats")

_QUEUE = 256
_ATTEMPTS = 5
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_TIMEOUT = 10.0
_COLOURS = {"low": "#6b7280", "medium": "#d97706", "high": "#dc2626", "critical": "#7f1d1d"}


class AlertError(SeawallError):
    """An alert was not taken; `final` when trying again is no use."""

    code = "alert-not-taken"

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message, hint="See the address and the credentials of the alert's receiver.")
        self.final = final


class AlertChannel(Protocol):
    """One receiver."""

    name: str

    async def send(self, alert: Alert) -> None:
        """Hand an alert over, once; raise `AlertError` when it is not taken."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class AlertSender:
    """Hands alerts to every channel, each in its own time: one that is slow holds no other back.

    A channel has a queue of 256; when it is full the oldest alert is dropped and counted. What is not taken is tried
    again 5 times, after 1 s, then twice as long each time, up to a minute, with jitter.

    Args:
        channels: the receivers.
        rng: spreads retries.
        first_wait: seconds before the first retry.

    Attributes:
        sent: alerts taken, by channel.
        failed: alerts given up, by channel.
        dropped: alerts that a full queue lost, by channel.
    """

    def __init__(
        self, channels: Sequence[AlertChannel], rng: random.Random, *, first_wait: float = _FIRST_WAIT
    ) -> None:
        self._channels = tuple(channels)
        self._rng = rng
        self._first_wait = first_wait
        self._queues: dict[str, asyncio.Queue[Alert]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        names = [channel.name for channel in channels]
        self.sent = dict.fromkeys(names, 0)
        self.failed = dict.fromkeys(names, 0)
        self.dropped = dict.fromkeys(names, 0)

    def start(self) -> None:
        """Begin to send; call it within the running loop."""
        for channel in self._channels:
            queue: asyncio.Queue[Alert] = asyncio.Queue(_QUEUE)
            self._queues[channel.name] = queue
            self._tasks.append(asyncio.create_task(self._run(channel, queue), name=f"seawall-alerts-{channel.name}"))

    def post(self, alert: Alert) -> None:
        """Take an alert; never blocks and never raises."""
        for name, queue in self._queues.items():
            if queue.full():
                queue.get_nowait()
                queue.task_done()
                self.dropped[name] += 1
            queue.put_nowait(alert)

    async def stop(self, grace: float = 2.0) -> None:
        """Send what is waiting, for so many seconds at most, then end."""
        waiting = [asyncio.create_task(queue.join()) for queue in self._queues.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=grace)
            for task in late:
                task.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._queues.clear()
        for channel in self._channels:
            await channel.close()

    async def _run(self, channel: AlertChannel, queue: asyncio.Queue[Alert]) -> None:
        while True:
            alert = await queue.get()
            try:
                await self._deliver(channel, alert)
            except Exception:  # noqa: BLE001 - logged; a defect in one message must not end the channel
                self.failed[channel.name] += 1
                _log.exception("an alert could not be sent by %s", channel.name)
            finally:
                queue.task_done()

    async def _deliver(self, channel: AlertChannel, alert: Alert) -> None:
        wait = self._first_wait
        for attempt in range(_ATTEMPTS + 1):
            try:
                async with asyncio.timeout(_TIMEOUT + 5.0):
                    await channel.send(alert)
            except (AlertError, TimeoutError) as error:
                final = isinstance(error, AlertError) and error.final
                message = error.message if isinstance(error, AlertError) else "it took too long"
                if final or attempt == _ATTEMPTS:
                    self.failed[channel.name] += 1
                    _log.error("alert %s is given up by %s: %s", alert.id, channel.name, message)
                    return
                _log.info("alert %s is not taken by %s, trying again: %s", alert.id, channel.name, message)
            else:
                self.sent[channel.name] += 1
                return
            await asyncio.sleep(wait * self._rng.uniform(0.5, 1.0))
            wait = min(wait * 2.0, _LONGEST_WAIT)


class _HttpChannel:
    """Posts JSON; needs the package `httpx`.

    Args:
        url: https, or http to this machine.
    """

    name = "http"

    def __init__(self, url: str) -> None:
        try:
            import httpx  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "alerts over HTTP need the package 'httpx', which is not installed",
                hint="install seawall with its extra: seawall[httpx]",
            ) from error
        self._url = url
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)
        self._error = httpx.HTTPError

    async def close(self) -> None:
        """Release connections."""
        await self._client.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            response = await self._client.post(
                self._url, content=body, headers={"content-type": "application/json", **headers}
            )
        except self._error as error:
            # The URL of a webhook is a secret in itself with many receivers.
            raise AlertError(f"the receiver cannot be reached: {type(error).__name__}") from error
        status = response.status_code
        if 200 <= status < 300:
            return
        raise AlertError(f"the receiver answered {status}", final=400 <= status < 500 and status not in {408, 425, 429})


class WebhookChannel(_HttpChannel):
    """A webhook as of the Standard Webhooks specification 1.0.0.

    The field `webhook-signature` is `v1,` and the base64 form of HMAC-SHA256 over `id.timestamp.body`. A receiver
    compares it, refuses old timestamps, and takes each id once.

    Args:
        url: as for HTTP.
        secret: at least 24 bytes.
        clock: for timestamps.
    """

    name = "webhook"

    def __init__(self, url: str, secret: bytes, clock: Clock) -> None:
        if len(secret) < 24:
            raise ConfigurationError(
                f"a webhook's secret of {len(secret)} bytes is too short", hint="give at least 24 bytes"
            )
        super().__init__(url)
        self._secret = secret
        self._clock = clock

    async def send(self, alert: Alert) -> None:
        """Post an alert."""
        body = msgspec.json.encode({"type": "threat.detected", "timestamp": _iso(alert.at), "data": alert})
        stamp = str(int(self._clock.wall()))
        seal = hmac.new(self._secret, f"{alert.id}.{stamp}.".encode() + body, sha256).digest()
        await self._post(
            body,
            {
                "webhook-id": alert.id,
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{b64encode(seal).decode('ascii')}",
            },
        )


class SlackChannel(_HttpChannel):
    """An incoming webhook of Slack, or of whatever understands the same payload (Mattermost, Rocket.Chat)."""

    name = "slack"

    async def send(self, alert: Alert) -> None:
        """Post an alert."""
        lines = [f"*{_slack(name)}:* {_slack(value)}" for name, value in _facts(alert)]
        await self._post(
            json.dumps(
                {
                    "text": _slack(alert.title),
                    "attachments": [{"color": _COLOURS.get(alert.level.value, "#6b7280"), "text": "\n".join(lines)}],
                }
            ).encode(),
            {},
        )


class EmailChannel:
    """E-mail over SMTP, each message on a connection of its own, within a thread.

    Args:
        host: of the server.
        port: of the server.
        sender: address.
        recipients: addresses.
        username: empty for none.
        password: of the user name.
        security: `tls` from the first byte, `starttls`, or `none`.
    """

    name = "email"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str,
        recipients: Sequence[str],
        username: str = "",
        password: str = "",
        security: str = "starttls",
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._recipients = tuple(recipients)
        self._username = username
        self._password = password
        self._security = security

    async def send(self, alert: Alert) -> None:
        """Send an alert."""
        message = EmailMessage()
        message["Subject"] = f"[Seawall] {alert.title}"
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Message-ID"] = f"<{alert.id}@seawall.invalid>"
        message["Date"] = datetime.fromtimestamp(alert.at, UTC)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join(f"{name}: {value}" for name, value in _facts(alert)) + "\n")
        try:
            await asyncio.to_thread(self._hand_over, message)
        except smtplib.SMTPResponseException as error:
            raise AlertError(
                f"the mail server answered {error.smtp_code}", final=500 <= error.smtp_code < 600
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise AlertError(f"the mail server cannot be used: {type(error).__name__}") from error

    async def close(self) -> None:
        """Nothing is held between messages."""

    def _hand_over(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        connect: Callable[..., Any] = smtplib.SMTP
        options: dict[str, Any] = {"timeout": _TIMEOUT}
        if self._security == "tls":
            connect, options = smtplib.SMTP_SSL, {**options, "context": context}
        with connect(self._host, self._port, **options) as server:
            if self._security == "starttls":
                server.starttls(context=context)
            if self._username:
                server.login(self._username, self._password)
            server.send_message(message)


def _facts(alert: Alert) -> list[tuple[str, str]]:
    event = alert.event
    facts = [
        ("What", alert.title),
        ("When", _iso(alert.at)),
        ("Event", event.id),
        ("Client", f"{event.client} {event.country}".strip()),
        ("Account", event.account),
        ("Request", f"{event.method} {event.target}".strip()),
        ("Rules", ", ".join(dict.fromkeys(one.rule for one in event.findings))),
        ("Detail", event.detail),
        ("Of this kind since the last alert", str(alert.repeated) if alert.repeated else ""),
        ("Alerts held back as there were too many", str(alert.withheld) if alert.withheld else ""),
    ]
    return [(name, _one_line(value)) for name, value in facts if value]


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def _slack(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text: these three, and nothing a client sent may be a mention.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
