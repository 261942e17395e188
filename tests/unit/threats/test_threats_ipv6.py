"""An IPv6 client is its /64: whoever changes the address within it is still the same."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threat_sites import W0, seen, told

from seawall.systems.threats.lists import AccessLists
from seawall.systems.threats.logins import LoginLimits, LoginWatch
from seawall.systems.threats.messages import Ban, LoginFailures, ThreatSnapshot
from seawall.systems.threats.model import Level, ThreatClass
from seawall.systems.threats.networks import PackedNetworks, parse_network, subject_of_address
from seawall.testing.clock import FakeClock

NONE = PackedNetworks()


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("192.0.2.7", "client:192.0.2.7"),
        ("::ffff:192.0.2.7", "client:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "network:2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::1", "network:2001:db8:1:2::/64"),
        ("2001:db8::1", "network:2001:db8::/64"),
        ("::1", "client:::1"),
        ("fe80::1%eth0", "client:fe80::1%eth0"),
        ("fd12:3456::1", "client:fd12:3456::1"),
        ("64:ff9b::c000:207", "client:64:ff9b::c000:207"),
        ("unix", "client:unix"),
        ("", "client:"),
    ],
)
def test_whom_an_address_stands_for(address, subject):
    assert subject_of_address(address) == subject


@given(st.ip_addresses(v=6))
def test_a_subject_is_what_the_lists_can_read(address):
    kind, _, value = subject_of_address(str(address)).partition(":")
    assert kind in {"client", "network"}
    version, first, length = parse_network(value)
    assert (version, length) in {(4, 32), (6, 64), (6, 128)}
    assert first == (int(address.ipv4_mapped) if version == 4 else int(address) >> (128 - length) << (128 - length))


class TestLists:
    def find(self, lists, client):
        found = lists.find(client, "", 0.0)
        return None if found is None else (found.kind, found.subject)

    @pytest.mark.parametrize("here", [True, False])
    def test_all_addresses_of_a_banned_64_are_banned_and_no_other(self, here):
        lists, subject = AccessLists(), "network:2001:db8:0:1::/64"
        lists.apply(NONE, NONE, (), {} if here else {subject: Ban(9.0)})
        if here:
            lists.ban(subject, Ban(9.0))
        assert self.find(lists, "2001:db8:0:1::5") == ("banned", subject)
        assert self.find(lists, "2001:db8:0:1:ffff::9") == ("banned", subject)
        assert self.find(lists, "2001:db8:0:2::5") is None
        assert self.find(lists, "192.0.2.1") is None

    def test_one_address_can_be_banned_by_itself_and_so_can_wider_networks(self):
        lists = AccessLists()
        bans = {"client:2001:db8::5": Ban(9.0), "network:2001:db8:ff00::/40": Ban(9.0), "network:fd00::/64": Ban(9.0)}
        lists.apply(NONE, NONE, (), bans)
        assert self.find(lists, "2001:db8::5") == ("banned", "client:2001:db8::5")
        assert self.find(lists, "2001:db8::6") is None
        assert self.find(lists, "2001:db8:ff12::1") == ("banned", "network:2001:db8:ff00::/40")
        assert self.find(lists, "fd00::77") == ("banned", "network:fd00::/64")

    def test_thousands_of_banned_64s_need_no_table(self):
        lists = AccessLists()
        lists.apply(NONE, NONE, (), {f"network:2001:db8:0:{number:x}::/64": Ban(9.0) for number in range(1, 5000)})
        assert lists._banned_networks == ()
        assert self.find(lists, "2001:db8:0:ff::1") == ("banned", "network:2001:db8:0:ff::/64")

    def test_an_ipv4_address_within_ipv6_is_banned_with_it(self):
        lists = AccessLists()
        lists.apply(NONE, NONE, (), {"client:192.0.2.7": Ban(9.0)})
        assert self.find(lists, "::ffff:192.0.2.7") == ("banned", "client:192.0.2.7")


def test_failures_from_everywhere_within_a_64_are_those_of_one_client():
    watch = LoginWatch()
    alarms = [
        alarm
        for number in range(6)
        for alarm in watch.fail(f"2001:db8::{number:x}", "", f"user-{number}", number * 0.1)
    ]
    assert [(alarm.kind, alarm.subject, alarm.shared) for alarm in alarms] == [
        ("guessing", "network:2001:db8::/64", False)
    ]


def test_an_account_that_is_tried_from_one_64_is_not_tried_from_many_addresses():
    watch = LoginWatch(LoginLimits(burst=1000, slow=1000, addresses=3))
    assert [one for n in range(50) for one in watch.fail(f"2001:db8::{n:x}", "", "alice", 0.0)] == []
    found = [one.kind for n in range(5) for one in watch.fail(f"2001:db8:{n:x}::1", "", "alice", 0.0)]
    assert "account-attack" in found


@pytest.fixture
async def site(threat_sites):
    return await threat_sites({"logins": {"paths": ["/login"]}}, clock=FakeClock())


@pytest.mark.anyio
class TestController:
    async def coalesced(self, site) -> ThreatSnapshot:
        await asyncio.sleep(0.03)
        return site.newest

    async def test_an_offender_is_banned_by_its_64_and_shown_so(self, site):
        site.controller.on_report(W0, told(seen("2001:db8:0:1::9", level=Level.CRITICAL)))
        bans = (await self.coalesced(site)).bans
        assert set(bans) == {"network:2001:db8:0:1::/64"}
        assert not bans["network:2001:db8:0:1::/64"].challenge
        (shown,) = site.controller.status().bans
        assert (shown.subject, shown.by) == ("network:2001:db8:0:1::/64", "seawall")
        assert site.threats == [("client:2001:db8:0:1::/64", 1.0)], "as the limiter names it"

    async def test_small_offences_from_changing_addresses_add_up(self, site):
        for number in range(4):
            site.controller.on_report(W0, told(seen(f"2001:db8::{number:x}", level=Level.HIGH)))
        assert not (await self.coalesced(site)).bans["network:2001:db8::/64"].challenge

    async def test_unbanning_an_address_lifts_the_ban_of_its_64(self, site):
        site.controller.on_report(W0, told(seen("2001:db8::9", level=Level.CRITICAL)))
        await self.coalesced(site)
        result = await site.perform("unblock", subject="2001:db8::77")
        assert (result.target, result.changed) == ("network:2001:db8::/64", True)
        assert (await self.coalesced(site)).bans == {}

    async def test_an_allowed_address_does_not_get_its_64_banned(self, threat_sites):
        site = await threat_sites({"allow": ["2001:db8::9"]}, clock=FakeClock())
        site.controller.on_report(W0, told(seen("2001:db8::9", level=Level.CRITICAL)))
        assert (await self.coalesced(site)).bans == {}
        assert site.threats == []

    async def test_limits_that_do_not_stop_a_64_have_it_banned(self, site):
        for _ in range(4):
            site.controller.on_abuse("client:2001:db8::/64", "base")
        assert not (await self.coalesced(site)).bans["network:2001:db8::/64"].challenge

    async def test_guessing_from_changing_addresses_is_one_client_s(self, site):
        for number in range(12):
            failure = LoginFailures(f"2001:db8::{number:x}", f"user{number % 4}", 1)
            site.controller.on_report(W0, told(failures=(failure,)))
        assert not (await self.coalesced(site)).bans["network:2001:db8::/64"].challenge
        found = await site.events(category=ThreatClass.BRUTE_FORCE)
        assert any(event.client.startswith("2001:db8::") for event in found)
