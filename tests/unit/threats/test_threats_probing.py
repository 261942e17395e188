"""Looking for what is not there: how many paths, under how many names, in which order."""

import random

import pytest

from seawall.core.request import Request
from seawall.systems.threats.probing import ProbeWatch

STEMS = ("admin", "backup", "config", "db", "dump", "old", "private", "secret", "test", "wp")
WORDS = sorted(f"{stem}{end}" for stem in STEMS for end in "abcdef")
ABOUT_FORTY = pytest.approx(41, abs=2)
"""So many are counted by probability."""


def ask(watch, path, status=404, now=0.0, client="192.0.2.7", agent=b"tool"):
    return watch.answered(Request("GET", path.encode(), [(b"user-agent", agent)], client=client), status, now)


def until_found(watch, paths, **fields):
    """Ask for each path; return how many it took, and what was found."""
    for number, path in enumerate(paths, 1):
        agent = fields.get("agents", [b"tool"])
        found = ask(watch, path, agent=agent[number % len(agent)], **fields.get("more", {}))
        if found is not None:
            return number, found
    return None


def shuffled(seed=5):
    words = [f"/{word}.php" for word in WORDS]
    random.Random(seed).shuffle(words)
    return words


def test_more_than_forty_paths_in_vain_are_probing():
    number, found = until_found(ProbeWatch(), shuffled())
    assert (number, found.subject, found.nearly_all) == (ABOUT_FORTY, "client:192.0.2.7", True)
    assert found.detail.endswith(" paths asked for in vain within 60 s, 100% of its requests")


def test_a_sorted_word_list_is_told_after_half_as_many_either_way():
    for words in (WORDS, WORDS[::-1]):
        number, found = until_found(ProbeWatch(), [f"/{word}" for word in words])
        assert number == 21
        assert found.detail.endswith(", in the order of a list")


def test_changing_names_are_told_after_half_as_many_and_both_after_a_quarter():
    agents = [b"Firefox/%d" % number for number in range(9)]
    number, found = until_found(ProbeWatch(), shuffled(), agents=agents)
    assert number == 21
    assert found.detail.endswith(", under 9 names")
    number, found = until_found(ProbeWatch(), [f"/{word}" for word in WORDS], agents=agents)
    assert number == 11
    assert found.detail.endswith(", under 9 names, in the order of a list")


def test_two_browsers_that_meet_dead_links_are_borne_what_one_is():
    number, _ = until_found(ProbeWatch(), shuffled(), agents=[b"Firefox", b"Chrome"])
    assert number == ABOUT_FORTY


@pytest.mark.parametrize("status", [200, 301, 401, 429, 500])
def test_other_answers_are_not_in_vain(status):
    assert until_found(ProbeWatch(), [f"/{number}" for number in range(500)], more={"status": status}) is None


def test_forced_browsing_counts_as_well():
    assert until_found(ProbeWatch(), shuffled(), more={"status": 403})[0] == ABOUT_FORTY


def test_a_crowd_of_many_names_that_mostly_finds_what_it_asks_is_left_alone():
    watch = ProbeWatch(4)
    for number in range(2000):
        agent = b"Browser %d" % (number % 50)
        assert ask(watch, f"/page-{number}", 200, number * 0.01, agent=agent) is None
        assert ask(watch, f"/dead-{number:06}", 404 if number % 3 == 0 else 200, number * 0.01, agent=agent) is None


def test_a_minute_later_and_after_a_clock_that_goes_backwards_it_begins_anew():
    for later in (60.0, -1.0):
        watch = ProbeWatch(20)
        paths = shuffled()
        assert all(ask(watch, path) is None for path in paths[:20])
        assert all(ask(watch, path, now=later) is None for path in paths[20:40])


def test_from_anywhere_within_a_64_it_is_one_client():
    watch = ProbeWatch()
    found = [ask(watch, path, client=f"2001:db8::{number:x}") for number, path in enumerate(shuffled())]
    assert [one.subject for one in found if one] == ["network:2001:db8::/64"]


def test_a_hundred_thousand_clients_and_long_paths_take_bounded_memory():
    watch = ProbeWatch()
    for number in range(100_000):
        ask(watch, "/" + "x" * 1000, client=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(watch._probers) <= 10_000
    assert all(len(prober._last) <= 256 for prober in watch._probers.values())
