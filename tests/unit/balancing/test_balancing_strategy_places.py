"""The strategies that go by place: geographic and consistent-hash."""

from collections import Counter

import pytest
from balancing_pools import Rig, get, member, members
from hypothesis import given
from hypothesis import strategies as st

from seawall.systems.balancing.geo import great_circle_km, parse_location
from seawall.systems.balancing.model import InstanceState, StrategyName

REGIONS = {"frankfurt": (50.1, 8.7), "virginia": (38.9, -77.5), "tokyo": (35.7, 139.7)}


class TestGlobe:
    def test_known_distances(self):
        assert great_circle_km((52.52, 13.405), (48.8566, 2.3522)) == pytest.approx(878, rel=0.005)
        assert great_circle_km((0.0, 0.0), (0.0, 180.0)) == pytest.approx(20015, rel=0.001)
        assert great_circle_km((0.0, 179.9), (0.0, -179.9)) == pytest.approx(22.2, rel=0.01)

    @given(*[st.tuples(st.floats(-90, 90), st.floats(-180, 180))] * 2)
    def test_distance_is_symmetric_and_bounded(self, here, there):
        distance = great_circle_km(here, there)
        assert 0.0 <= distance <= 20016
        assert distance == pytest.approx(great_circle_km(there, here), abs=1e-6)

    @pytest.mark.parametrize("text", [b"52.5,13.4", b" 52.5 , 13.4 "])
    def test_places_are_read(self, text):
        assert parse_location(text) == (52.5, 13.4)

    @pytest.mark.parametrize(
        "text", [b"", b"52.5", b"91,0", b"0,181", b"nan,0", b"0,inf", b"a,b", b"1,2,3", b"1," + b"0" * 99]
    )
    def test_what_is_no_place(self, text):
        assert parse_location(text) is None


def sites(**states):
    """Two instances in each region; `frankfurt=[...]` gives their states."""
    healthy = [InstanceState.HEALTHY] * 2
    return [
        member(f"{region}-{number}", region=region, state=state)
        for region in REGIONS
        for number, state in enumerate(states.get(region, healthy))
    ]


class TestGeographic:
    def rig(self, instances=None, **fields):
        fields = {"region_header": "X-Region", "regions": REGIONS, **fields}
        return Rig(instances or sites(), strategy=StrategyName.GEOGRAPHIC, **fields)

    def regions(self, rig, request, count=400):
        return Counter(name.rpartition("-")[0] for name in rig.picks(count, request))

    @pytest.mark.parametrize(
        ("origin", "expected"),
        [
            (b"tokyo", "tokyo"),
            (b"48.9,2.4", "frankfurt"),
            (b"40.7,-74.0", "virginia"),
            (b"37.6,127.0", "tokyo"),
        ],
    )
    def test_the_nearest_region_takes_all(self, origin, expected):
        assert self.regions(self.rig(), get((b"x-region", origin))) == {expected: 400}

    def test_within_a_region_the_least_loaded_takes_it(self):
        rig = self.rig()
        request = get((b"x-region", b"tokyo"))
        for _ in range(10):
            rig.engine.start(rig.pick(request))
        assert rig.instance("tokyo-0").active == rig.instance("tokyo-1").active == 5

    @pytest.mark.parametrize("headers", [(), ((b"x-region", b"atlantis"),)])
    def test_an_unknown_origin_uses_every_region(self, headers):
        rig = self.rig()
        for _ in range(60):
            rig.engine.start(rig.pick(get(*headers)))
        assert {instance.active for instance in rig.pool.instances} == {10}

    def test_a_region_that_is_down_passes_everything_on_to_the_next_nearest(self):
        rig = self.rig(sites(frankfurt=[InstanceState.UNHEALTHY] * 2))
        assert self.regions(rig, get((b"x-region", b"frankfurt"))) == {"virginia": 400}

    def test_a_region_at_half_capacity_passes_on_what_it_cannot_take(self):
        rig = self.rig(sites(frankfurt=[InstanceState.HEALTHY, InstanceState.EJECTED]))
        taken = self.regions(rig, get((b"x-region", b"frankfurt")), 8000)
        # Half of its weight, times 1.4.
        assert taken["frankfurt"] / 8000 == pytest.approx(0.7, abs=0.02)
        assert taken["virginia"] == 8000 - taken["frankfurt"]

    def test_draining_is_not_a_lack_of_capacity(self):
        rig = self.rig(sites(frankfurt=[InstanceState.HEALTHY, InstanceState.DRAINING]))
        assert self.regions(rig, get((b"x-region", b"frankfurt"))) == {"frankfurt": 400}

    def test_when_all_lack_capacity_they_share_in_order(self):
        half = [InstanceState.HEALTHY, *[InstanceState.UNHEALTHY] * 3]
        rig = self.rig(sites(frankfurt=half, virginia=half, tokyo=half), panic_threshold=0.0)
        taken = self.regions(rig, get((b"x-region", b"frankfurt")), 9000)
        assert taken["frankfurt"] / 9000 == pytest.approx(0.35 / 1.0, abs=0.02)
        assert taken["virginia"] / 9000 == pytest.approx(0.35 / 1.0, abs=0.02)
        one = self.rig(sites(frankfurt=half)[:4], panic_threshold=0.0)
        assert self.regions(one, get((b"x-region", b"frankfurt"))) == {"frankfurt": 400}

    def test_a_retry_leaves_a_region_that_was_tried_out(self):
        rig = self.rig()
        tried = [rig.instance("tokyo-0"), rig.instance("tokyo-1")]
        assert rig.pick(get((b"x-region", b"tokyo")), tried).region in {"frankfurt", "virginia"}

    def test_an_instance_may_bring_its_own_location(self):
        rig = self.rig([member("north", location=(60.0, 10.0)), member("south", location=(-30.0, 10.0))], regions={})
        assert set(rig.picks(20, get((b"x-region", b"-20,12")))) == {"south"}

    def test_a_region_without_a_location_serves_its_own_clients(self):
        rig = self.rig([member("a", region="here"), member("b", region="there")], regions={})
        assert set(rig.picks(20, get((b"x-region", b"there")))) == {"b"}

    def test_the_address_is_looked_up_when_the_header_says_nothing(self):
        asked = []

        def open_database(path):
            def locate(address):
                asked.append((path, address))
                return (35.0, 139.0) if address == "203.0.113.5" else None

            return locate

        rig = self.rig(geo=open_database, geoip_database="/var/city.mmdb")
        assert self.regions(rig, get(peer="203.0.113.5")) == {"tokyo": 400}
        assert asked == [("/var/city.mmdb", "203.0.113.5")]
        assert len(self.regions(rig, get(peer="198.51.100.1"))) == 3
        assert self.regions(rig, get((b"x-region", b"frankfurt"), peer="203.0.113.5")) == {"frankfurt": 400}

    def test_many_origins_do_not_fill_the_memory(self, monkeypatch):
        monkeypatch.setattr("seawall.systems.balancing.strategies.geographic._MAX_PLANS", 8)
        rig = self.rig(geo=lambda path: lambda address: (0.0, 0.0), geoip_database="x")
        for number in range(50):
            rig.pick(get((b"x-region", b"%d,0" % number)))
            rig.pick(get(peer=f"192.0.2.{number}"))
        assert len(rig.pool.strategy._by_header) <= 8
        assert len(rig.pool.strategy._by_client) <= 8


class TestConsistentHash:
    def rig(self, instances, **fields):
        return Rig(instances, strategy=StrategyName.CONSISTENT_HASH, **fields)

    def owners(self, rig, count=4000):
        return [rig.pick(get(peer=f"10.{n >> 8 & 255}.{n & 255}.1")).id for n in range(count)]

    def test_the_same_key_goes_to_the_same_instance_in_every_process(self):
        assert self.owners(self.rig(members(7), seed=1), 200) == self.owners(self.rig(members(7)[::-1], seed=9), 200)

    def test_keys_are_spread_by_weight(self):
        rig = self.rig([member("light"), member("heavy", weight=3.0), *members(2)])
        shares = Counter(self.owners(rig))
        assert shares["heavy"] / 4000 == pytest.approx(0.5, abs=0.09)

    @pytest.mark.parametrize("count", [10, 100])
    def test_one_that_leaves_moves_only_its_own_keys(self, count):
        rig = self.rig(members(count))
        before = self.owners(rig)
        rig.apply(members(count)[1:])
        after = self.owners(rig)
        assert {old for old, new in zip(before, after, strict=True) if old != new} == {"i0"}

    @pytest.mark.parametrize("count", [10, 100])
    def test_one_that_comes_takes_about_its_share_and_moves_nothing_else(self, count):
        rig = self.rig(members(count))
        before = self.owners(rig)
        rig.apply([*members(count), member("new")])
        moved = [(old, new) for old, new in zip(before, self.owners(rig), strict=True) if old != new]
        assert {new for _, new in moved} == {"new"}
        assert len(moved) / 4000 == pytest.approx(1 / (count + 1), rel=0.45)

    def test_a_ring_changed_step_by_step_equals_one_built_at_once(self):
        rig = self.rig(members(10))
        rig.apply([member("i3", weight=2.0), *members(3), member("x")])
        rig.apply([*members(12), member("x", weight=0.3)])
        assert self.owners(rig) == self.owners(self.rig([*members(12), member("x", weight=0.3)]))

    @pytest.mark.parametrize(
        ("hash_key", "header"),
        [("header:X-Tenant", (b"x-tenant", b"acme")), ("cookie:tenant", (b"cookie", b"a=b; tenant=acme"))],
    )
    def test_the_key_may_be_a_header_or_a_cookie(self, hash_key, header):
        rig = self.rig(members(9), hash_key=hash_key)
        assert len({rig.pick(get(header, peer=f"10.0.0.{n}")).id for n in range(50)}) == 1

    def test_without_the_key_load_decides(self):
        rig = self.rig(members(4), hash_key="header:x-tenant")
        for _ in range(40):
            rig.engine.start(rig.pick(get()))
        assert {instance.active for instance in rig.pool.instances} == {10}

    def test_one_hot_key_is_spread_once_its_instance_is_full(self):
        rig = self.rig(members(5), hash_load_bound=1.25)
        for _ in range(100):
            rig.engine.start(rig.pick(get()))
        assert max(instance.active for instance in rig.pool.instances) == 25

    def test_a_retry_goes_to_the_next_on_the_ring(self):
        rig = self.rig(members(6))
        first = rig.pick(get())
        second = rig.pick(get(), [first])
        assert second is not first
        rig.apply([instance.snapshot for instance in rig.pool.instances if instance is not first])
        assert rig.pick(get()).id == second.id
