"""What operators set at run time: kept, versioned, followed by every gateway, and never half applied."""

import asyncio

import msgspec
import pytest
from ratelimit_sites import RULE

from seawall.core.clock import SystemClock
from seawall.core.errors import (
    ConfigurationError,
    ConflictError,
    InvalidError,
    NotFoundError,
    StateUnavailableError,
)
from seawall.state.memory import MemoryStore
from seawall.state.open import open_store
from seawall.systems.ratelimit import rulebook
from seawall.systems.ratelimit.records import BlockRecord
from seawall.systems.ratelimit.ruleset import RunTimeRule, merge, merge_what_fits
from seawall.systems.ratelimit.settings import RateLimitSettings

pytestmark = pytest.mark.anyio

BASE = {"base": 100}


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def shared_store(request, tmp_path):
    """The store of two gateways; each kind keeps the same promises."""
    if request.param == "memory":
        made = MemoryStore(clock=SystemClock())
    elif request.param == "sqlite":
        made = open_store(f"sqlite:///{tmp_path / 'state.sqlite'}")
    else:
        prefix = f"?prefix=book-{tmp_path.name}:"
        made = open_store(request.getfixturevalue("redis_url") + prefix)
    yield made
    await made.close()


@pytest.fixture
async def store():
    made = MemoryStore(clock=SystemClock())
    yield made
    await made.close()


class Away:
    """A store that can be cut off; otherwise it is the one behind it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.url = store.url
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise StateUnavailableError("the store is away")

    async def get(self, key):
        self._check()
        return await self._store.get(key)

    async def put(self, key, value, *, ttl=None):
        self._check()
        await self._store.put(key, value, ttl=ttl)

    async def delete(self, key):
        self._check()
        return await self._store.delete(key)

    async def scan(self, prefix):
        self._check()
        async for entry in self._store.scan(prefix):
            yield entry

    async def watch(self, prefix):
        self._check()
        async for change in self._store.watch(prefix):
            yield change

    async def run(self, script, keys, args):
        self._check()
        return await self._store.run(script, keys, args)

    async def ping(self):
        self._check()

    async def close(self):
        await self._store.close()


async def test_every_gateway_on_the_store_follows_within_a_second(limit_sites, shared_store):
    one, two = await limit_sites(BASE, shared_store), await limit_sites(BASE, shared_store)
    result = await one.perform("set-rule", rule=RULE, before="base")
    assert (result.target, result.changed, result.book_version) == ("login", True, 1)
    await one.perform("block", subject="client:192.0.2.9/24", reason="scraping")
    await one.perform("override", subject="user:alice", limit=5000, rule="login", ttl_ms=60_000)
    await two.until(lambda site: site.rules == ["login", "base"] and site.newest.blocks and site.newest.overrides)
    assert two.newest.blocks["client:192.0.2.0/24"].reason == "scraping"
    assert two.newest.blocks["client:192.0.2.0/24"].until == float("inf")
    assert (two.newest.overrides["user:alice"].limit, two.newest.overrides["user:alice"].rule) == (5000.0, "login")
    assert two.newest.rules[0].windows[0].limit == 5.0
    assert two.controller.status().book_version == 3
    await two.perform("remove-rule", id="login")
    await two.perform("unblock", subject="client:192.0.2.0/24")
    await two.perform("override", subject="user:alice", limit=None)
    await one.until(lambda site: site.rules == ["base"] and not site.newest.blocks and not site.newest.overrides)
    assert one.controller.status().book_version == 6


async def test_a_version_that_has_moved_on_refuses_every_action_and_changes_nothing(limit_sites, store):
    site = await limit_sites(BASE, store)
    await site.perform("block", subject="user:eve", version=0)
    before = [entry async for entry in store.scan("ratelimit/")]
    for action, fields in {
        "set-rule": {"rule": RULE},
        "block": {"subject": "user:mallory"},
        "unblock": {"subject": "user:eve"},
        "override": {"subject": "user:eve", "limit": 5},
        "reset": {"key": "user:eve"},
    }.items():
        with pytest.raises(ConflictError, match="at version 1, and this change was made for version 0"):
            await site.perform(action, **fields, version=0)
    with pytest.raises(ConflictError):
        await site.perform("remove-rule", id="login", version=0)
    assert [entry async for entry in store.scan("ratelimit/")] == before


async def test_rules_set_at_the_same_time_are_all_kept(limit_sites, shared_store):
    one, two = await limit_sites(BASE, shared_store), await limit_sites(BASE, shared_store)
    rules = [{"id": f"r{n}", "match": {"paths": [f"/p{n}"]}, "windows": [{"limit": n + 1}]} for n in range(8)]
    await asyncio.gather(*((one, two)[n % 2].perform("set-rule", rule=rule) for n, rule in enumerate(rules)))
    for site in (one, two):
        await site.until(lambda site: sorted(site.rules) == ["base", *(rule["id"] for rule in rules)])
    assert one.controller.status().book_version == 8


async def test_of_two_changes_made_for_one_version_one_is_refused(limit_sites, store):
    one, two = await limit_sites(BASE, store), await limit_sites(BASE, store)
    results = await asyncio.gather(
        one.perform("block", subject="user:a", version=0),
        two.perform("set-rule", rule=RULE, version=0),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["ActionResult", "ConflictError"]


async def test_it_survives_a_restart(limit_sites, store):
    first = await limit_sites(BASE, store)
    await first.perform("set-rule", rule={**RULE, "mode": "shadow"})
    await first.perform("block", subject="user:eve", ttl_ms=60_000)
    await first.controller.stop()
    second = await limit_sites(BASE, store)
    assert second.rules == ["login", "base"]
    assert second.newest.rules[0].mode == "shadow"
    assert "user:eve" in second.newest.blocks


async def test_blocks_and_overrides_end_by_themselves(limit_sites, store):
    site = await limit_sites(BASE, store)
    await site.perform("block", subject="user:eve", ttl_ms=150)
    await site.perform("override", subject="user:eve", limit=3, ttl_ms=150)
    await site.until(lambda site: site.newest.blocks and site.newest.overrides)
    await site.until(lambda site: not site.newest.blocks and not site.newest.overrides)
    assert [entry.key async for entry in store.scan("ratelimit/")] == ["ratelimit/book/version"]


async def test_a_rule_that_can_never_match_is_refused_with_the_reason(limit_sites, store):
    table = {"rules": [{"id": "all", "windows": [{"limit": 10}]}]}
    site = await limit_sites(table, store)
    with pytest.raises(ConfigurationError, match='rule "login": can never match, because rule "all" takes all'):
        await site.perform("set-rule", rule=RULE)
    assert [entry async for entry in store.scan("ratelimit/")] == []
    await site.perform("set-rule", rule=RULE, before="all")
    await site.until(lambda site: site.rules == ["login", "all"])
    with pytest.raises(ConfigurationError, match=r'rule "login-twin", match\.roles.*nobody has the role "amin"'):
        await site.perform("set-rule", rule={"id": "login-twin", "match": {"roles": ["amin"]}}, before="login")


async def test_a_rule_of_the_file_is_replaced_and_comes_back(limit_sites, store):
    table = {"rules": [{"id": "login", "match": {"paths": ["/login"]}, "windows": [{"limit": 50}]}]}
    site = await limit_sites(table, store)
    with pytest.raises(ConflictError, match="comes from the configuration file"):
        await site.perform("remove-rule", id="login")
    await site.perform("set-rule", rule=RULE)
    await site.until(lambda site: site.newest.rules[0].windows[0].limit == 5.0)
    assert site.controller.status().rules[0].source == "run-time"
    await site.perform("remove-rule", id="login")
    await site.until(lambda site: site.newest.rules[0].windows[0].limit == 50.0)
    assert site.controller.status().rules[0].source == "file"


async def test_what_does_not_exist_is_named(limit_sites, store):
    site = await limit_sites(BASE, store)
    with pytest.raises(NotFoundError, match="no rule 'nope'"):
        await site.perform("remove-rule", id="nope")
    with pytest.raises(NotFoundError, match="no rule 'nope'"):
        await site.perform("set-rule", rule=RULE, before="nope")
    with pytest.raises(NotFoundError, match="no rule 'nope'"):
        await site.perform("override", subject="user:a", limit=1, rule="nope")
    with pytest.raises(ConflictError, match="the base limit comes from"):
        await site.perform("remove-rule", id="base")
    with pytest.raises(InvalidError, match="names no subject"):
        await site.perform("block", subject="nobody")
    assert site.controller.status().book_version == 0
    assert not (await site.perform("unblock", subject="user:nobody")).changed
    assert site.controller.status().book_version == 1, "other gateways are told all the same, as they may know more"


async def test_a_rule_goes_on_inheriting_what_was_not_given(limit_sites, store):
    site = await limit_sites({**BASE, "counts": "strict", "roles": {"partner": 3}}, store)
    await site.perform("set-rule", rule=RULE)
    await site.until(lambda site: "login" in site.rules)
    assert (site.newest.rules[0].counts, site.newest.rules[0].roles["partner"]) == ("strict", 3.0)
    await site.controller.reconfigure(RateLimitSettings.model_validate({**BASE, "counts": "local"}))
    assert site.newest.rules[0].counts == "local"
    assert "partner" not in site.newest.rules[0].roles


async def test_a_reload_leaves_out_what_no_longer_fits_and_says_so(limit_sites, store):
    site = await limit_sites(BASE, store)
    await site.perform("set-rule", rule=RULE)
    other = {"id": "search", "match": {"paths": ["/search"]}, "windows": [{"limit": 9}]}
    await site.perform("set-rule", rule=other)
    file = {"rules": [{"id": "auth", "match": {"paths": ["/login", "/logout"]}, "windows": [{"limit": 7}]}]}
    await site.controller.reconfigure(RateLimitSettings.model_validate(file))
    assert site.rules == ["auth", "search"]
    assert 'rule "auth" takes all of its requests' in site.controller.health()["rule:login"]
    # A rule that is left out does not stand in the way of others, and returns with the file that it fits.
    await site.perform("set-rule", rule={**other, "windows": [{"limit": 10}]})
    await site.controller.reconfigure(RateLimitSettings.model_validate(BASE))
    assert site.rules == ["login", "search", "base"]
    assert site.controller.health() == {}


async def test_while_the_store_is_away_nothing_changes_and_the_last_word_holds(limit_sites):
    away = Away(MemoryStore(clock=SystemClock()))
    site = await limit_sites(BASE, away)
    await site.perform("set-rule", rule=RULE)
    await site.perform("block", subject="user:eve")
    await site.until(lambda site: site.rules == ["login", "base"] and site.newest.blocks)
    kept = site.newest
    away.away = True
    for action, fields in {
        "set-rule": {"rule": {**RULE, "id": "other", "match": {"paths": ["/x"]}}},
        "remove-rule": {"id": "login"},
        "block": {"subject": "user:mallory"},
        "unblock": {"subject": "user:eve"},
        "override": {"subject": "user:eve", "limit": 5},
        "reset": {"key": "user:eve"},
    }.items():
        with pytest.raises(StateUnavailableError):
            await site.perform(action, **fields)
    await site.controller.reconfigure(RateLimitSettings.model_validate({**BASE, "max_keys": 1000}))
    assert msgspec.structs.replace(site.newest, version=0, max_keys=0) == msgspec.structs.replace(
        kept, version=0, max_keys=0
    )
    # A start goes on from that snapshot, and takes the store's word as soon as there is one.
    with pytest.raises(StateUnavailableError):
        await limit_sites(BASE, away)
    second = await limit_sites(BASE, away, resume=site.newest)
    assert second.rules == ["login", "base"]
    assert "user:eve" in second.newest.blocks
    assert second.newest.version > site.newest.version
    assert "going on with the last known limits" in second.controller.health()["state"]
    away.away = False
    await site.perform("unblock", subject="user:eve")
    await second.until(lambda site: not site.newest.blocks and not site.controller.health())
    await away.close()


async def test_a_damaged_record_is_left_out_told_and_mended_by_the_next_change(limit_sites, store):
    await store.put("ratelimit/book/rules", b"{nonsense")
    await store.put("ratelimit/book/block/00", b"[]")
    await store.put("ratelimit/book/unknown/00", b"from a later release")
    site = await limit_sites(BASE, store)
    assert site.rules == ["base"]
    assert set(site.controller.health()) == {"record:ratelimit/book/rules", "record:ratelimit/book/block/00"}
    await site.perform("set-rule", rule=RULE)
    await site.until(lambda site: site.rules == ["login", "base"])


async def test_numbers_are_bounded(limit_sites, store, monkeypatch):
    site = await limit_sites(BASE, store)
    monkeypatch.setattr(rulebook, "MAX_RUN_TIME_RULES", 1)
    monkeypatch.setattr(rulebook, "MAX_SUBJECTS", 2)
    await site.perform("set-rule", rule=RULE)
    with pytest.raises(InvalidError, match="at most 1 of"):
        await site.perform("set-rule", rule={"id": "other", "match": {"paths": ["/x"]}})
    await site.perform("set-rule", rule={**RULE, "mode": "shadow"})
    for name in "ab":
        await site.perform("block", subject=f"user:{name}")
    with pytest.raises(InvalidError, match="there are 2 of them already"):
        await site.perform("block", subject="user:c")
    await site.perform("block", subject="user:b", reason="renewed")
    monkeypatch.setattr(rulebook, "MAX_RULES_BYTES", 300)
    with pytest.raises(InvalidError, match="at most 1 of 300 bytes"):
        await site.perform("set-rule", rule={**RULE, "match": {"paths": ["/" + "x" * 400]}})


async def test_only_a_digest_of_an_api_key_is_kept(limit_sites, store):
    site = await limit_sites(BASE, store)
    result = await site.perform("block", subject="api-key:very-secret")
    assert result.target.startswith("api-key:#")
    entries = [entry async for entry in store.scan("ratelimit/")]
    assert not any(b"very-secret" in entry.value or "very-secret" in entry.key for entry in entries)
    assert (await site.perform("unblock", subject=result.target)).changed


async def test_a_key_of_several_parts_is_taken_as_it_is(limit_sites, store):
    site = await limit_sites(BASE, store)
    result = await site.perform("reset", key="user:alice|route:search")
    assert result.target == "user:alice|route:search"
    await site.until(lambda site: "user:alice|route:search" in site.newest.resets)


def test_a_run_time_rule_keeps_its_place_when_it_is_changed():
    file = RateLimitSettings.model_validate({"rules": [{"id": "a", "match": {"paths": ["/a"]}}, {"id": "b"}]})
    added = [RunTimeRule(rule={"id": "x", "match": {"paths": ["/x"]}}, before="b")]
    assert [rule.id for rule in merge(file, added).rules] == ["a", "x", "b"]
    gone = RateLimitSettings.model_validate({"rules": [{"id": "a", "match": {"paths": ["/a"]}}]})
    assert [rule.id for rule in merge(gone, added).rules] == ["a", "x"]
    damaged = merge_what_fits(file, [RunTimeRule(rule={"id": 7}), *added])
    assert [rule.id for rule in damaged.settings.rules] == ["a", "x", "b"]
    assert list(damaged.left_out) == [""]


async def test_the_store_forgets_names_of_any_length_and_script(limit_sites, store):
    site = await limit_sites(BASE, store)
    for subject in ("user:" + "ü" * 400, "tenant:東京", "role:a b"):
        result = await site.perform("block", subject=subject)
        await site.until(lambda site, name=result.target: name in site.newest.blocks)
    assert len(site.controller._book.records(BlockRecord)) == 3
