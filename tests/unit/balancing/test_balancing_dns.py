"""Names to addresses, without a name server."""

import asyncio
import threading

import pytest

from seawall.systems.balancing.dns import NameWatch, resolve_name

pytestmark = pytest.mark.anyio


async def until(condition) -> None:
    async with asyncio.timeout(5.0):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.002)


class Zone:
    """Answers that a test may change; an exception is raised."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, name: str):
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_an_answer_is_put_in_order_and_a_rotation_is_no_change():
    zone = Zone(web=["10.0.0.20", "::1", "10.0.0.3", "10.0.0.3"])
    changes: list[str] = []
    watch = NameWatch(zone, changes.append, interval=0.001)
    watch.watch(["web"])
    await watch.first_answers(5.0)
    assert watch.addresses("web") == ("10.0.0.3", "10.0.0.20", "::1")
    zone.answers["web"] = ["::1", "10.0.0.3", "10.0.0.20"]
    asked = len(zone.asked)
    await until(lambda: len(zone.asked) > asked + 2)
    assert changes == ["web"]
    zone.answers["web"] = ["10.0.0.4"]
    await until(lambda: len(changes) == 2)
    assert watch.addresses("web") == ("10.0.0.4",)
    await watch.stop()


@pytest.mark.parametrize("failure", [OSError(-2, "Name or service not known"), [], ["not an address"]])
async def test_the_last_good_answer_outlives_a_failure(failure):
    zone = Zone(web=["10.0.0.3"])
    watch = NameWatch(zone, lambda _: None, interval=0.001)
    watch.watch(["web"])
    await watch.first_answers(5.0)
    zone.answers["web"] = failure
    await until(lambda: "web" in watch.failures)
    assert watch.addresses("web") == ("10.0.0.3",)
    zone.answers["web"] = ["10.0.0.3"]
    await until(lambda: not watch.failures)
    await watch.stop()


async def test_a_resolver_that_hangs_holds_up_nobody():
    release = threading.Event()

    def resolve(name):
        if name == "stuck":
            release.wait(10.0)
        return ["10.0.0.1"]

    watch = NameWatch(resolve, lambda _: None, interval=60.0)
    watch.watch(["stuck", "web"])
    await watch.first_answers(0.05)
    await until(lambda: watch.addresses("web"))
    assert watch.addresses("stuck") == ()
    await watch.stop()
    release.set()


async def test_names_come_and_go():
    zone = Zone(one=["10.0.0.1"], two=["10.0.0.2"])
    watch = NameWatch(zone, lambda _: None, interval=60.0)
    watch.watch(["one"])
    await watch.first_answers(5.0)
    watch.watch(["two"])
    await watch.first_answers(5.0)
    assert (watch.addresses("one"), watch.addresses("two")) == ((), ("10.0.0.2",))
    await watch.stop()


def test_the_systems_resolver_knows_this_machine():
    assert "127.0.0.1" in resolve_name("localhost")
