"""Who may be chosen: health states, panic, sessions, retries."""

import pytest
from balancing_pools import Rig, get, member, members

from seawall.systems.balancing.model import AffinitySnapshot, InstanceState, Outcome, StrategyName

H, S, U, E, D = (
    InstanceState.HEALTHY,
    InstanceState.STARTING,
    InstanceState.UNHEALTHY,
    InstanceState.EJECTED,
    InstanceState.DRAINING,
)


def usable(states, threshold=0.5):
    instances = [member(f"{state.value[0]}{number}", state=state) for number, state in enumerate(states)]
    return {instance.id for instance in Rig(instances, panic_threshold=threshold).pool.candidates}


@pytest.mark.parametrize(
    ("states", "threshold", "expected"),
    [
        ([H, H, U, E], 0.5, {"h0", "h1"}),
        ([H, S, S, S], 0.5, {"h0"}),
        ([S, S, D], 0.5, {"s0", "s1"}),
        ([S, S, U], 0.5, {"s0", "s1"}),
        ([H, U, U], 0.5, {"h0", "u1", "u2"}),
        ([H, U, U], 0.0, {"h0"}),
        ([H, U, E, S, D], 0.5, {"h0", "u1", "e2"}),
        ([S, U, U, D], 0.5, {"s0", "u1", "u2"}),
        ([U, E, D], 0.5, {"u0", "e1"}),
        ([U, E, D], 0.0, set()),
        ([D, D], 0.5, set()),
        ([], 0.5, set()),
    ],
)
def test_states_decide_who_is_usable(states, threshold, expected):
    assert usable(states, threshold) == expected


def test_without_a_usable_instance_nothing_is_picked_and_that_is_counted():
    rig = Rig([member("a", state=D)])
    assert rig.pick() is None
    assert rig.engine.report(full=False).pools["p"].no_instance == 1


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_a_retry_goes_elsewhere_until_all_were_tried(strategy):
    rig = Rig(members(12), strategy=strategy, probe_path="/load")
    tried = []
    for _ in range(12):
        picked = rig.pick(tried=tried)
        assert picked is not None
        assert picked not in tried
        tried.append(picked)
    assert rig.pick(tried=tried) is None
    report = rig.engine.report(full=False)
    assert sum(row.counts[-1] for row in report.instances.values()) == 11
    assert report.pools == {}


class TestAffinity:
    key = AffinitySnapshot(cookie="sid", key=b"k" * 32, max_age=60, secure=True)

    def rig(self, instances=None, **fields):
        return Rig(instances or members(4), affinity=self.key, **fields)

    def bound_request(self, rig, name):
        value = rig.engine.affinity_cookie(rig.pool, get(), rig.instance(name))
        return get((b"cookie", b"other=1; " + value.partition(b";")[0]))

    def test_a_new_client_gets_a_cookie_with_its_attributes(self):
        rig = self.rig()
        value = rig.engine.affinity_cookie(rig.pool, get(), rig.instance("i2"))
        pair, *attributes = value.split(b"; ")
        assert pair.startswith(b"sid=")
        assert attributes == [b"Path=/", b"HttpOnly", b"SameSite=Lax", b"Max-Age=60", b"Secure"]
        assert b"i2" not in value

    def test_a_bound_client_stays_and_gets_no_new_cookie(self):
        rig = self.rig()
        request = self.bound_request(rig, "i2")
        assert rig.picks(8, request) == ["i2"] * 8
        assert rig.engine.affinity_cookie(rig.pool, request, rig.instance("i2")) is None
        assert rig.engine.affinity_cookie(rig.pool, request, rig.instance("i1")) is not None

    def test_two_processes_agree(self):
        assert self.rig(seed=2).pick(self.bound_request(self.rig(), "i3")).id == "i3"

    @pytest.mark.parametrize("change", ["tag", "signature", "short", "long", "empty"])
    def test_a_cookie_that_was_tampered_with_binds_nobody(self, change):
        rig = self.rig()
        genuine = self.bound_request(rig, "i2").cookie(b"sid")
        other = self.bound_request(rig, "i1").cookie(b"sid")
        forged = {
            "tag": other[:16] + genuine[16:],
            "signature": genuine[:-1] + (b"0" if genuine[-1:] != b"0" else b"1"),
            "short": genuine[:-1],
            "long": genuine + b"0" * 8192,
            "empty": b"",
        }[change]
        request = get((b"cookie", b"sid=" + forged))
        assert set(rig.picks(8, request)) == {"i0", "i1", "i2", "i3"}
        assert rig.engine.affinity_cookie(rig.pool, request, rig.instance("i2")) is not None

    def test_a_draining_instance_keeps_its_sessions_and_takes_no_others(self):
        rig = self.rig()
        request = self.bound_request(rig, "i0")
        rig.apply([member("i0", state=D), *members(4)[1:]])
        assert rig.pick(request).id == "i0"
        assert "i0" not in rig.picks(8)

    @pytest.mark.parametrize("state", [U, E])
    def test_an_unhealthy_instance_loses_its_sessions(self, state):
        rig = self.rig()
        request = self.bound_request(rig, "i0")
        rig.apply([member("i0", state=state), *members(4)[1:]])
        assert "i0" not in rig.picks(8, request)

    def test_a_retry_leaves_the_bound_instance(self):
        rig = self.rig()
        request = self.bound_request(rig, "i0")
        assert rig.pick(request, [rig.instance("i0")]).id != "i0"

    def test_another_key_or_pool_binds_nobody(self):
        request = self.bound_request(self.rig(), "i2")
        rig = Rig(members(4), affinity=AffinitySnapshot(cookie="sid", key=b"x" * 32))
        assert rig.pool.affinity.bound(request) is None

    def test_a_rotated_key_takes_effect(self):
        rig = self.rig()
        request = self.bound_request(rig, "i2")
        rig.apply(members(4), affinity=AffinitySnapshot(cookie="sid", key=b"n" * 32))
        assert rig.pool.affinity.bound(request) is None
        rig.apply(members(4), affinity=None)
        assert rig.engine.affinity_cookie(rig.pool, get(), rig.instance("i2")) is None

    def test_one_that_left_is_bound_to_nobody(self):
        rig = self.rig()
        request = self.bound_request(rig, "i3")
        gone = rig.instance("i3")
        rig.apply(members(3))
        assert rig.pick(request).id != "i3"
        assert rig.engine.affinity_cookie(rig.pool, request, gone) is None


class TestRefusedConnections:
    def refuse(self, rig, instance):
        rig.engine.start(instance)
        rig.engine.finish(instance, 0.001, Outcome.CONNECT_FAILED)

    @pytest.mark.parametrize("strategy", list(StrategyName))
    def test_one_that_refuses_gets_a_trial_now_and_then(self, strategy):
        rig = Rig(members(3), strategy=strategy)
        dead = rig.instance("i1")
        self.refuse(rig, dead)
        assert dead not in [rig.pick() for _ in range(50)]
        rig.clock.now += 0.3
        picks = [rig.pick() for _ in range(50)]
        assert picks.count(dead) <= 1  # strategies that weigh errors may not even try

    def test_a_success_ends_it(self):
        rig = Rig(members(2))
        dead = rig.instance("i1")
        self.refuse(rig, dead)
        rig.engine.start(dead)
        rig.engine.finish(dead, 0.001, Outcome.SUCCESS, 200)
        assert [rig.pick() for _ in range(10)].count(dead) == 5

    def test_when_all_refuse_they_are_used_all_the_same(self):
        rig = Rig(members(2))
        picked = []
        for _ in range(10):
            rig.clock.now += 0.001
            picked.append(rig.pick())
            self.refuse(rig, picked[-1])
        assert {instance.id for instance in picked} == {"i0", "i1"}

    def test_a_retry_is_not_sent_to_one_that_refuses(self):
        rig = Rig(members(3))
        self.refuse(rig, rig.instance("i1"))
        assert {rig.pick(tried=[rig.instance("i0")]).id for _ in range(10)} == {"i2"}


def test_one_that_is_healthy_again_starts_afresh():
    rig = Rig(members(3), strategy=StrategyName.LATENCY_BASED)
    for instance in rig.pool.instances:
        rig.engine.start(instance)
        rig.engine.finish(instance, 0.010, Outcome.SUCCESS, 200)
    back = rig.instance("i1")
    for _ in range(10):
        rig.engine.start(back)
        rig.engine.finish(back, 5.0, Outcome.TIMEOUT)
    rig.apply([member("i0"), member("i1", state=U), member("i2")])
    rig.apply(members(3))
    shares = dict.fromkeys(("i0", "i1", "i2"), 0)
    for _ in range(60):
        picked = rig.pick()
        shares[picked.id] += 1
        rig.engine.start(picked)
        rig.engine.finish(picked, 0.010, Outcome.SUCCESS, 200)
    assert shares[back.id] >= 10, "a share like the others', in place of ten errors' and five seconds' handicap"


class TestRetryBudget:
    def test_a_quiet_pool_has_its_floor(self):
        rig = Rig(members(2), retry_floor=3, retry_budget=0.2)
        assert [rig.engine.may_retry(rig.pool) for _ in range(32)] == [True] * 30 + [False] * 2  # ten seconds' worth
        rig.clock.now += 1.0
        assert [rig.engine.may_retry(rig.pool) for _ in range(4)] == [True, True, True, False]
        report = rig.engine.report(full=False).pools["p"]
        assert (report.retries, report.retries_refused) == (33, 3)

    def test_retries_stay_a_share_of_requests(self):
        rig = Rig(members(2), retry_floor=0, retry_budget=0.2)
        granted = 0
        for _ in range(60_000):  # one minute of 1000 requests per second, all of which want a retry
            rig.clock.now += 0.001
            rig.engine.count_request(rig.pool)
            granted += rig.engine.may_retry(rig.pool)
        assert 0.19 * 60_000 < granted <= 0.2 * 60_000

    def test_requests_of_the_last_seconds_earn_retries_without_any_asked_for_meanwhile(self):
        rig = Rig(members(2), retry_floor=0, retry_budget=0.2)
        for _ in range(1000):
            rig.engine.count_request(rig.pool)
        rig.clock.now += 1.0
        granted = sum(rig.engine.may_retry(rig.pool) for _ in range(1000))
        assert 180 <= granted <= 200

    def test_requests_long_ago_earn_none(self):
        rig = Rig(members(2), retry_floor=0, retry_budget=0.2)
        for _ in range(1000):
            rig.engine.count_request(rig.pool)
        rig.engine.may_retry(rig.pool)
        rig.clock.now += 200.0
        assert not rig.engine.may_retry(rig.pool)


def test_failing_at_once_does_not_attract_traffic():
    for strategy in (StrategyName.LEAST_CONNECTIONS, StrategyName.LATENCY_BASED):
        rig = Rig(members(6), strategy=strategy)
        sent = 0
        for _ in range(600):
            rig.clock.now += 0.005
            instance = rig.pick()
            rig.engine.start(instance)
            if instance.id == "i0":
                sent += 1
                rig.engine.finish(instance, 0.0, Outcome.CONNECT_FAILED)
            else:
                rig.engine.finish(instance, 0.02, Outcome.SUCCESS, 200)
        assert sent < 12, strategy
