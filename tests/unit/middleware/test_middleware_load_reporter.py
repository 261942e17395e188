"""An application under `LoadReporter`, spoken to over httpx's ASGI transport, and the estimate it answers."""

import json

import anyio
import httpx
import pytest

from seawall.middleware.asgi import LoadReporter
from seawall.middleware.load import LoadTracker
from seawall.systems.balancing.orca import reported_utilisation

pytestmark = pytest.mark.anyio


class Hand:
    now = 50.0

    def __call__(self):
        return self.now


class Application:
    """Answers when the test says so, and takes as long on the clock as the test says."""

    def __init__(self, clock, seconds=0.0):
        self.clock = clock
        self.seconds = seconds
        self.entered = anyio.Event()
        self.release = anyio.Event()
        self.release.set()

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        self.entered.set()
        await self.release.wait()
        self.clock.now += self.seconds
        if scope["path"] == "/broken":
            raise RuntimeError("the application failed")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body", "body": b"hello"})


def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


async def test_the_probe_answers_in_flight_and_latency():
    clock = Hand()
    app = Application(clock, seconds=0.025)
    async with client(LoadReporter(app, path="/load", clock=clock)) as http:
        assert (await http.get("/load")).json() == {"in_flight": 0, "latency_ms": 0.0}
        assert (await http.get("/")).text == "hello"
        answer = await http.get("/load")
        assert answer.json() == {"in_flight": 0, "latency_ms": 25.0}
        assert answer.headers["cache-control"] == "no-store"
        assert (await http.head("/load")).content == b""
        app.release = anyio.Event()
        app.entered = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.get, "/slow")
            await app.entered.wait()
            assert (await http.get("/load")).json()["in_flight"] == 1
            app.release.set()
        assert (await http.get("/load")).json()["in_flight"] == 0


async def test_a_failing_application_is_counted_down_again():
    clock = Hand()
    reporter = LoadReporter(Application(clock), path="/load", clock=clock)
    async with client(reporter) as http:
        with pytest.raises(RuntimeError):
            await http.get("/broken")
    assert reporter.tracker.in_flight == 0


async def test_the_load_header_is_one_that_the_balancer_reads():
    reporter = LoadReporter(Application(Hand()), path="/load", utilisation=lambda in_flight: in_flight / 4)
    async with client(reporter) as http:
        response = await http.get("/")
        assert reported_utilisation(response.headers["endpoint-load-metrics"].encode()) == 0.25
        assert response.headers["x-app"] == "1"


async def test_without_utilisation_responses_are_left_alone():
    async with client(LoadReporter(Application(Hand()))) as http:
        assert "endpoint-load-metrics" not in (await http.get("/")).headers


async def test_other_methods_on_the_probe_path_belong_to_the_application():
    async with client(LoadReporter(Application(Hand()), path="/load")) as http:
        assert (await http.post("/load")).text == "hello"


async def test_other_protocols_pass_through_uncounted():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], reporter.tracker.in_flight))

    reporter = LoadReporter(app)
    await reporter({"type": "lifespan"}, None, None)
    await reporter({"type": "websocket", "path": reporter.path}, None, None)
    assert seen == [("lifespan", 0), ("websocket", 0)]


class TestLoadTracker:
    def serve(self, clock, tracker, seconds, beside=0):
        tracker.in_flight += beside
        token = tracker.start()
        clock.now += seconds
        tracker.finish(token)
        tracker.in_flight -= beside

    def test_nothing_served_nothing_known(self):
        assert LoadTracker(Hand()).latency() == 0.0

    def test_the_estimate_is_that_of_the_present_load(self):
        clock = Hand()
        tracker = LoadTracker(clock)
        for _ in range(16):
            self.serve(clock, tracker, 0.010)
            self.serve(clock, tracker, 0.080, beside=8)
        assert tracker.latency() == pytest.approx(0.010)
        for _ in range(7):
            tracker.start()
        assert tracker.latency() == pytest.approx(0.080)

    def test_old_samples_do_not_hide_what_is_slow_now(self):
        clock = Hand()
        tracker = LoadTracker(clock)
        for _ in range(16):
            self.serve(clock, tracker, 0.010)
        self.serve(clock, tracker, 2.5, beside=3)
        assert tracker.latency() == pytest.approx(2.5)

    def test_an_old_estimate_fades(self):
        clock = Hand()
        tracker = LoadTracker(clock)
        self.serve(clock, tracker, 2.0)
        faded = []
        for _ in range(6):
            faded.append(tracker.latency())
            clock.now += 10.0
        assert faded == sorted(faded, reverse=True)
        assert faded[0] == pytest.approx(2.0)
        assert 0.0 < faded[-1] < 0.03

    def test_memory_is_bounded(self):
        clock = Hand()
        tracker = LoadTracker(clock)
        tokens = [tracker.start() for _ in range(1000)]
        for token in tokens * 3:
            tracker.finish(token)
        assert len(tracker._levels) <= 256
        assert max(map(len, tracker._levels.values())) <= 16


def test_the_answer_is_small_and_valid_json():
    sent = []

    async def run():
        reporter = LoadReporter(Application(Hand()))

        async def send(message):
            sent.append(message)

        await reporter({"type": "http", "path": reporter.path, "method": "GET"}, None, send)

    anyio.run(run)
    start, body = sent
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"]) == {"in_flight": 0, "latency_ms": 0.0}
