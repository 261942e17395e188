"""Changes of instances in the log."""

import logging

import pytest
from balancing_sites import report_row

from seawall.systems.balancing.actions import Drain, Heartbeat, Register, Undrain, Unregister, Weigh
from seawall.systems.balancing.model import BalancingReport
from seawall.systems.balancing.news import ChangeLog

pytestmark = pytest.mark.anyio

FILE = "http://10.0.0.1:1"
TABLE = {"pools": {"default": {"instances": [FILE], "health": {"kind": "none"}}}}


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, "seawall.balancing")

    def lines(*, level=logging.INFO):
        found = [r for r in caplog.records if r.name == "seawall.balancing" and r.levelno >= level]
        return [record.getMessage() for record in found]

    return lines


async def test_each_change_of_an_instance_is_one_line(sites, told):
    site = await sites(TABLE)
    url = "http://10.0.0.7:80"
    for action in (
        Register(action="register", url=url, id="n"),
        Register(action="register", url=url, id="n"),
        Weigh(action="weight", id="n", weight=2.5),
        Weigh(action="weight", id=FILE, weight=3),
        Drain(action="drain", id=FILE),
        Undrain(action="undrain", id=FILE),
        Unregister(action="unregister", id="n"),
        Undrain(action="undrain", id="n"),
        Unregister(action="unregister", id="n", drain_ms=0),
    ):
        await site.controller.perform(action)
    assert told() == [
        "pool default begins with 1 instance",
        f"instance default/n is registered at {url}, weight 1",
        "instance default/n is given another weight: 2.5, was 1",
        f"instance default/{FILE} is given another weight: 3, was 1",
        f"instance default/{FILE} is draining",
        f"instance default/{FILE} is draining no longer",
        "instance default/n is being unregistered, it drains first",
        "instance default/n is draining no longer",
        "instance default/n is unregistered",
    ]


async def test_the_end_of_a_time_to_live_is_told_and_heartbeats_are_not(sites, told):
    site = await sites(TABLE)
    await site.controller.perform(Register(action="register", url="http://10.0.0.7:80", id="n", ttl_ms=200))
    await site.controller.perform(Heartbeat(action="heartbeat", id="n"))
    await site.until(lambda _: len(told()) == 3)
    assert told()[1:] == [
        "instance default/n is registered at http://10.0.0.7:80, weight 1",
        "instance default/n is at the end of its time to live",
    ]


async def test_a_change_of_the_configuration_is_told(sites, told):
    site = await sites(TABLE)
    other = "http://10.0.0.2:1"
    settings = site.controller._settings.model_validate(
        {"pools": {"default": {"instances": [other], "health": {"kind": "none"}}}}
    )
    await site.controller.reconfigure(settings)
    assert told()[1:] == [
        f"instance default/{FILE} is no longer configured",
        f"instance default/{other} is configured at {other}, weight 1",
    ]


async def test_an_ejection_and_its_end_are_told(sites, told):
    outliers = {"base_ejection_ms": 100, "max_ejected": 1.0}
    site = await sites({"pools": {"default": {**TABLE["pools"]["default"], "outliers": outliers}}})
    site.controller.on_report(("w", 1), BalancingReport(instances={f"default/{FILE}": report_row(0, 5, run=5)}))
    await site.until(lambda _: len(told()) == 3)
    assert told()[1:] == [
        f"instance default/{FILE} is ejected for 0 s: consecutive-errors",
        f"instance default/{FILE} is back from its ejection",
    ]
    assert told(level=logging.WARNING) == told()[1:2]


async def test_a_flood_of_changes_is_summarised_at_its_end(sites, told):
    site = await sites(TABLE)
    for number in range(100):
        await site.controller.perform(Register(action="register", url="http://10.0.0.7:80", id=f"n{number}"))
    await site.controller.stop()
    lines = told()[1:]
    counted = sum(int(line.split()[2]) for line in lines if line.startswith("pool default: "))
    assert counted + sum(line.startswith("instance ") for line in lines) == 100
    assert counted >= 1


def test_what_is_held_back_is_told_when_its_window_is_over(told):
    news = ChangeLog(logging.getLogger("seawall.balancing"), limit=2, window=1.0)
    for number in range(4):
        news.tell(10.0, "p", f"i{number}", "healthy")
    news.tell(10.5, "p", "i4", "unhealthy", ": refused", level=logging.WARNING)
    news.step(10.9)
    assert told() == ["instance p/i0 is healthy", "instance p/i1 is healthy"]
    news.step(11.0)
    summary = "pool p: 3 more changes of instances: 2 healthy, 1 unhealthy"
    assert told()[2:] == [summary]
    assert told(level=logging.WARNING) == [summary], "it is as grave as the gravest in it"
    news.tell(11.1, "p", "i5", "unhealthy", ": refused")
    news.step(99.0)
    assert told()[3:] == ["instance p/i5 is unhealthy: refused"]
