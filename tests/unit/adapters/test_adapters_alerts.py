import asyncio
import hmac
import json
import random
import time
from base64 import b64encode
from hashlib import sha256

import pytest

from seawall.adapters.alerts import AlertError, AlertSender, EmailChannel, SlackChannel, WebhookChannel
from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError
from seawall.systems.threats.alerting import Alert
from seawall.systems.threats.events import ThreatEvent
from seawall.systems.threats.model import Action, Level, ThreatClass

pytestmark = pytest.mark.anyio

SECRET = b"0123456789abcdef0123456789abcdef"


def alert(number=1, **fields):
    event = ThreatEvent(
        id=f"e-{number}",
        at=1_700_000_000.5,
        category=ThreatClass.XSS,
        level=Level.HIGH,
        action=Action.BLOCK,
        client="192.0.2.7",
        target="/x?q=<!here>&a=1",
    )
    return Alert(id=event.id, at=event.at, title="high threat: xss", level=Level.HIGH, event=event, **fields)


class Receiver:
    """A real HTTP server that answers with the next of some statuses, then with 200."""

    def __init__(self, statuses=()):
        self.statuses = list(statuses)
        self.requests = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        raw = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields["content-length"]))
        self.requests.append(({name.lower(): value for name, value in raw.items()}, body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
        await writer.drain()
        writer.close()


async def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)


async def test_a_webhook_is_signed_so_that_its_receiver_can_tell():
    async with Receiver() as receiver:
        channel = WebhookChannel(receiver.url, SECRET, SystemClock())
        await channel.send(alert())
        await channel.close()
    ((fields, body),) = receiver.requests
    signed = f"e-1.{fields['webhook-timestamp']}.".encode() + body
    expected = b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
    assert fields["webhook-signature"] == f"v1,{expected}"
    assert fields["webhook-id"] == "e-1"
    assert abs(int(fields["webhook-timestamp"]) - time.time()) < 60
    assert json.loads(body)["data"]["event"]["client"] == "192.0.2.7"


async def test_slack_is_sent_text_in_which_nothing_can_be_a_mention():
    async with Receiver() as receiver:
        channel = SlackChannel(receiver.url)
        await channel.send(alert(repeated=7))
        await channel.close()
    payload = json.loads(receiver.requests[0][1])
    text = payload["attachments"][0]["text"]
    assert "&lt;!here&gt;&amp;a=1" in text
    assert "<" not in text
    assert "7" in text


async def test_what_is_not_taken_is_tried_again_and_what_never_will_be_is_given_up():
    async with Receiver([500, 429, 503]) as good, Receiver([404]) as bad:
        fine, gone = WebhookChannel(good.url, SECRET, SystemClock()), SlackChannel(bad.url)
        sender = AlertSender([fine, gone], random.Random(1), first_wait=0.01)
        sender.start()
        sender.post(alert())
        await until(lambda: sender.sent["webhook"] and sender.failed["slack"])
        await sender.stop()
    assert len(good.requests) == 4
    assert len({fields["webhook-id"] for fields, _ in good.requests}) == 1
    assert len(bad.requests) == 1


async def test_a_receiver_that_is_away_is_given_up_in_the_end_and_its_url_is_not_logged(caplog):
    channel = SlackChannel("http://127.0.0.1:1/services/T000/B000/secret")
    sender = AlertSender([channel], random.Random(1), first_wait=0.001)
    sender.start()
    sender.post(alert())
    await until(lambda: sender.failed["slack"])
    await sender.stop()
    assert "given up" in caplog.text
    assert "secret" not in caplog.text


async def test_a_full_queue_loses_the_oldest_and_says_so():
    class Stuck:
        name = "stuck"

        async def send(self, alert):
            await asyncio.Event().wait()

        async def close(self):
            pass

    sender = AlertSender([Stuck()], random.Random(1))
    sender.start()
    for number in range(300):
        sender.post(alert(number))
    assert sender.dropped == {"stuck": 44}
    await sender.stop(grace=0.05)
    sender.post(alert())  # after the end it is nobody's


async def test_what_waits_at_the_end_is_still_sent():
    async with Receiver() as receiver:
        sender = AlertSender([SlackChannel(receiver.url)], random.Random(1))
        sender.start()
        for number in range(3):
            sender.post(alert(number))
        await sender.stop(grace=5.0)
    assert len(receiver.requests) == 3


class MailServer:
    """As much of an SMTP server as a client needs; RFC 5321."""

    def __init__(self, *, answer=b"250 taken\r\n"):
        self.answer = answer
        self.mails = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            verb = line.split()[0].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(self.answer)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 fine\r\n")
            await writer.drain()
        writer.close()


def mail(port):
    return EmailChannel(
        "127.0.0.1", port, sender="seawall@example.com", recipients=["a@example.com", "b@example.com"], security="none"
    )


async def test_a_mail_is_sent_whose_subject_no_client_can_break():
    async with MailServer() as server:
        evil = alert()
        evil = Alert(id="e", at=evil.at, title="broken ? line", level=evil.level, event=evil.event)
        await mail(server.port).send(evil)
    (text,) = server.mails
    assert b"Subject: [Seawall] broken ? line" in text
    assert b"Auto-Submitted: auto-generated" in text
    assert b"Request: /x?q=<!here>&a=1" in text


@pytest.mark.parametrize(("answer", "final"), [(b"451 later\r\n", False), (b"550 never\r\n", True)])
async def test_a_mail_server_may_say_no_for_now_or_for_good(answer, final):
    async with MailServer(answer=answer) as server:
        with pytest.raises(AlertError) as caught:
            await mail(server.port).send(alert())
    assert caught.value.final is final


async def test_a_mail_server_that_is_away_is_an_error_that_may_pass():
    with pytest.raises(AlertError) as caught:
        await mail(1).send(alert())
    assert not caught.value.final


async def test_a_short_secret_is_refused():
    with pytest.raises(ConfigurationError, match="too short"):
        WebhookChannel("https://example.com", b"short", SystemClock())
