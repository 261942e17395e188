import json

import msgspec
import pytest

from seawall.core.errors import ConfigurationError, InvalidError
from seawall.middleware.threats import ThreatMiddleware
from seawall.testing.clock import FakeClock
from seawall.threats import Action, Level, ThreatClass, ThreatDetectionService

pytestmark = pytest.mark.anyio

XSS = "<script>alert(document.cookie)</script>"
FORM = [(b"content-type", b"application/x-www-form-urlencoded")]


@pytest.fixture(scope="module")
def warm():
    """Compile the patterns before anything is measured or mocked."""
    return ThreatDetectionService()


class App:
    """Answers with what it received."""

    def __init__(self, status=200):
        self.status = status
        self.bodies = []
        self.scopes = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        body, parts = b"", 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            parts += 1
            if not message.get("more_body"):
                break
        self.bodies.append((body, parts))
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def call(app, path="/", *, query=b"", method="GET", headers=(), body=(), client="192.0.2.7"):
    """Send one request; `body` is its parts."""
    parts = list(body)
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]
    if parts:
        headers = [*headers, (b"content-length", b"%d" % sum(map(len, parts)))]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"host", b"app.example"), *headers],
        "client": (client, 1234),
        "scheme": "http",
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent), dict(sent[0]["headers"])


async def test_an_honest_request_reaches_the_application_as_it_came(warm):
    app = App()
    status, body, _ = await call(
        ThreatMiddleware(app, warm), method="POST", headers=FORM, body=[b"name=O%27Brien&", b"text=Union+Select"]
    )
    assert (status, body) == (200, b"ok")
    assert app.bodies == [(b"name=O%27Brien&text=Union+Select", 2)]


async def test_an_attack_is_refused_before_the_application_runs(warm):
    app, events = App(), []
    service = ThreatDetectionService(on_event=events.append)
    middleware = ThreatMiddleware(app, service)
    status, body, headers = await call(middleware, query=b"q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert status == 403
    assert json.loads(body)["event"] == events[0].id
    assert headers[b"content-type"] == b"application/problem+json"
    status, _, _ = await call(
        middleware, method="POST", headers=FORM, body=[b"q=%3Cscri", b"pt%3Ealert(1)%3C/script%3E"], client="192.0.2.8"
    )
    assert status == 403
    assert app.bodies == []


async def test_a_body_larger_than_is_held_streams_on(warm):
    app = App()
    service = ThreatDetectionService({"hold_bytes": 1000})
    parts = [b'{"a": "'] + [b"x" * 400] * 50 + [b'"}']
    status, _, _ = await call(
        ThreatMiddleware(app, service),
        method="POST",
        headers=[(b"content-type", b"application/json")],
        body=parts,
    )
    assert status == 200
    assert app.bodies == [(b"".join(parts), len(parts))]


async def test_a_body_that_breaks_off_is_the_application_s_matter(warm):
    app = App()
    middleware = ThreatMiddleware(app, warm)
    sent = []
    messages = [{"type": "http.request", "body": b"a=1", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = [*FORM, (b"content-length", b"100")]
    await middleware({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
    assert app.bodies == [(b"a=1", 1)]


async def test_a_tag_that_a_client_sent_is_taken_off(warm):
    app = App()
    await call(ThreatMiddleware(app, warm), headers=[(b"X-Seawall-Threat", b"none;score=0")])
    assert b"x-seawall-threat" not in {name.lower() for name, _ in app.scopes[0]["headers"]}


async def test_guessing_passwords_is_stopped(warm):
    app = App(401)
    service = ThreatDetectionService({"logins": {"paths": ["/login"]}, "challenge": {"enabled": False}})
    middleware = ThreatMiddleware(app, service)
    body = [b"username=alice&password=x"]
    statuses = [(await call(middleware, "/login", method="POST", headers=FORM, body=body))[0] for _ in range(20)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 403
    assert (await call(middleware, "/", client="192.0.2.8"))[0] == 401, "others are unhurt"


async def test_behind_a_trusted_proxy_the_client_is_banned_and_not_the_proxy(warm):
    app = App(200)
    service = ThreatDetectionService()
    middleware = ThreatMiddleware(app, service, trusted_proxies=["10.0.0.1"])
    service.block("client:203.0.113.9")
    forwarded = [(b"x-forwarded-for", b"203.0.113.9")]
    assert (await call(middleware, headers=forwarded, client="10.0.0.1"))[0] == 403
    assert (await call(middleware, client="10.0.0.1"))[0] == 200
    assert (await call(middleware, headers=forwarded, client="192.0.2.1"))[0] == 200, "nobody else's word counts"


async def test_accounts_are_banned_where_the_application_tells_who_is_signed_in(warm):
    service = ThreatDetectionService()
    service.block("account:mallory", seconds=60.0)
    middleware = ThreatMiddleware(App(), service, user=lambda scope: "mallory")
    assert (await call(middleware))[0] == 403


async def test_a_websocket_is_closed_and_other_connections_pass(warm):
    service = ThreatDetectionService()
    service.block("client:192.0.2.7")
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    middleware = ThreatMiddleware(app, service)
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await middleware({"type": "websocket", "path": "/", "headers": [], "client": ("192.0.2.7", 1)}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    await middleware({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan"]


class TestService:
    async def test_a_request_is_analysed_from_a_mapping(self, warm):
        service = ThreatDetectionService()
        result = await service.analyze_request({"method": "GET", "url": "/?id=1%27%20OR%20%271%27=%271"})
        assert result.threat is ThreatClass.SQL_INJECTION
        assert result.action is Action.BLOCK
        assert result.score > 0
        assert result.level in {Level.HIGH, Level.CRITICAL}
        assert result.events[0].category is ThreatClass.SQL_INJECTION
        assert result.findings
        calm = await service.analyze_request({"url": "https://app.example/a?b=c", "headers": {"accept": "*/*"}})
        assert (calm.threat, calm.action, calm.events) == (None, Action.ALLOW, ())

    async def test_what_is_only_inspected_is_not_remembered(self, warm):
        service = ThreatDetectionService()
        for _ in range(50):
            verdict = service.inspect({"method": "POST", "body": XSS, "client": "192.0.2.7"})
            assert verdict.action is Action.BLOCK
        assert (await service.analyze_request({"client": "192.0.2.7"})).action is Action.ALLOW

    async def test_a_ban_ends_and_can_be_lifted(self, warm):
        clock = FakeClock()
        service = ThreatDetectionService(clock=clock)
        service.block("192.0.2.0/24", seconds=60.0)
        assert (await service.analyze_request({"client": "192.0.2.7"})).action is Action.BLOCK
        clock.advance(61.0)
        assert (await service.analyze_request({"client": "192.0.2.7"})).action is Action.ALLOW
        service.block("192.0.2.7")
        assert service.unblock("client:192.0.2.7")
        assert not service.unblock("client:192.0.2.7")
        assert (await service.analyze_request({"client": "192.0.2.7"})).action is Action.ALLOW

    async def test_the_environment_configures_it(self, warm, monkeypatch):
        monkeypatch.setenv("THREAT_IP_WHITELIST", "192.0.2.7, 198.51.100.0/24")
        monkeypatch.setenv("THREAT_DETECTION_ENABLED", "true")
        service = ThreatDetectionService()
        attack = {"url": f"/?q={XSS}", "client": "192.0.2.7"}
        assert (await service.analyze_request(attack)).action is Action.ALLOW
        assert (await service.analyze_request({**attack, "client": "192.0.2.8"})).action is Action.BLOCK
        monkeypatch.setenv("THREAT_DETECTION_ENABLED", "false")
        assert (await ThreatDetectionService().analyze_request({**attack, "client": "x"})).action is Action.ALLOW

    @pytest.mark.parametrize(
        "given",
        [
            {"headers": 7},
            {"headers": ["x"]},
            {"uri": "/"},
            {"url": "http://[::1"},
            {"headers": {"host": "a"}, "cookies": {}},
        ],
    )
    async def test_what_is_no_request_is_refused(self, warm, given):
        with pytest.raises(InvalidError, match="request"):
            await warm.analyze_request(given)

    async def test_what_cannot_be_configured_is_refused_with_all_findings(self):
        with pytest.raises(ConfigurationError) as caught:
            ThreatDetectionService({"paranoia": 9, "allow": ["nowhere"], "mode": "harsh"})
        assert len(caught.value.problems) == 3
        with pytest.raises(InvalidError, match="0"):
            ThreatDetectionService().block("192.0.2.7", seconds=0.0)

    async def test_an_event_can_be_sent_elsewhere(self, warm):
        events = []
        service = ThreatDetectionService(on_event=events.append)
        await service.analyze_request({"url": f"/?password=hunter2&q={XSS}", "client": "192.0.2.7"})
        assert b"hunter2" not in msgspec.json.encode(events[0])
