"""The controller with a real issuer: rotation, outages, files; API keys from making to revoking."""

import json
import socket

import pytest
from identity_desk import Desk, jwt_table

from identity_tokens import EC, OTHER_RSA, RSA, SECRET, IssuerServer, asking, bearing, claims, jwks, signed
from seawall.core.clock import SystemClock
from seawall.core.errors import ConfigurationError, ConflictError, NotFoundError, StateUnavailableError
from seawall.core.principal import Identity
from seawall.state.memory import MemoryStore
from seawall.systems.identity.actions import CreateKey, RefreshIssuer, RevokeKey
from seawall.systems.identity.issuer import public_part
from seawall.systems.identity.model import IdentitySnapshot, RefusalReason
from seawall.systems.identity.records import KEY_PREFIX
from seawall.systems.identity.settings import IdentitySettings

pytestmark = pytest.mark.anyio

BOB = Identity(user="bob", source="jwt")
KEYS = {"api_keys": {"enabled": True}}


@pytest.fixture
def issuer():
    with IssuerServer(jwks(RSA)) as server:
        yield server


def samples_of(desk: Desk) -> dict[tuple[str, ...], float]:
    return {(sample.instrument.name, *sample.labels): sample.value for sample in desk.controller.samples()}


# -- the issuer's keys -------------------------------------------------------------------------------------------------


async def test_the_first_snapshot_has_the_issuer_s_keys(desks, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    assert desk.token_verdict(RSA, "RS256") == BOB
    assert desk.controller.health() == {}
    status = desk.controller.status().jwt
    assert (status.keys, status.source, status.trouble) == (["rsa-1"], issuer.url, "")


async def test_a_defect_in_one_look_at_the_issuer_does_not_end_the_looks(desks, issuer, caplog):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    schedule = desk.controller._issuer.schedule
    due, failed = schedule.due, []

    def fail_once(now):
        if not failed:
            failed.append(now)
            raise RuntimeError("a defect of the schedule")
        return due(now)

    schedule.due = fail_once
    issuer.publish(jwks(RSA, OTHER_RSA))
    schedule.asked(desk.clock.monotonic())
    await desk.until(lambda: desk.token_verdict(OTHER_RSA, "RS256") == BOB)
    assert "a defect of the schedule" in caplog.text


async def test_a_rotated_key_is_known_soon_after_its_first_token(desks, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    issuer.publish(jwks(RSA, OTHER_RSA))
    assert desk.token_verdict(OTHER_RSA, "RS256") is RefusalReason.UNKNOWN_SIGNER
    assert desk.token_verdict(RSA, "RS256") == BOB
    await desk.until(lambda: len(desk.published) > 1)
    assert desk.token_verdict(OTHER_RSA, "RS256") == BOB
    assert desk.token_verdict(RSA, "RS256") == BOB
    issuer.publish(jwks(OTHER_RSA))
    await desk.controller.perform(RefreshIssuer(action="refresh-issuer"), "me")
    await desk.until(lambda: desk.token_verdict(RSA, "RS256") is RefusalReason.UNKNOWN_SIGNER)
    assert desk.token_verdict(OTHER_RSA, "RS256") == BOB


async def test_unknown_keys_do_not_make_us_flood_the_issuer(desks, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url, jwks_min_interval_ms=60_000))
    asked = issuer.asked
    for _ in range(50):
        desk.token_verdict(OTHER_RSA, "RS256")
    await desk.until(lambda: desk.controller.status().refusals["unknown-signer"] == 50)
    assert not desk.controller._issuer.schedule.due(desk.clock.monotonic() + 50)
    assert desk.controller._issuer.schedule.due(desk.clock.monotonic() + 61)
    assert issuer.asked == asked


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 500), (b"not json", 200), (b'{"keys": []}', 200), (b'{"keys": [{"kty": "oct", "k": "AAAA"}]}', 200)],
)
async def test_keys_stay_while_the_issuer_is_away_or_talks_rubbish(desks, issuer, body, status):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    issuer.publish(body, status=status)
    with pytest.raises(ConflictError, match="stay as they are"):
        await desk.controller.perform(RefreshIssuer(action="refresh-issuer"), "me")
    assert "the last ones stay in force" in desk.controller.health()["issuer"]
    assert desk.token_verdict(RSA, "RS256") == BOB
    assert samples_of(desk)["identity_key_fetches_total", "failed"] >= 1
    issuer.publish(jwks(RSA))
    await desk.until(lambda: desk.controller.health() == {})


async def test_an_issuer_that_is_away_at_the_start_is_taken_up_when_it_comes(desks, issuer):
    issuer.publish(b"", status=503)
    desk = await desks(jwt_table(jwks_url=issuer.url))
    assert desk.token_verdict(RSA, "RS256") is RefusalReason.UNAVAILABLE
    assert "no token can be checked" in desk.controller.health()["issuer"]
    issuer.publish(jwks(RSA))
    await desk.until(lambda: desk.token_verdict(RSA, "RS256") == BOB)
    assert desk.controller.health() == {}


async def test_a_restart_while_the_issuer_is_away_goes_on_with_its_last_keys(desks, issuer):
    store = MemoryStore(clock=SystemClock())
    first = await desks(jwt_table(jwks_url=issuer.url), store)
    await first.controller.stop()
    issuer.publish(b"", status=503)
    second = await desks(jwt_table(jwks_url=issuer.url), store)
    assert second.token_verdict(RSA, "RS256") == BOB
    other = await desks(jwt_table(jwks_url=issuer.url + "?other"), store)
    assert other.token_verdict(RSA, "RS256") is RefusalReason.UNAVAILABLE


async def test_private_parts_of_published_keys_go_nowhere(desks, issuer):
    issuer.publish(json.dumps({"keys": [EC.as_dict(private=True)]}).encode())
    desk = await desks(jwt_table(jwks_url=issuer.url))
    assert desk.token_verdict(EC, "ES256") == BOB
    secret = EC.as_dict(private=True)["d"].encode()
    assert secret not in desk.published[-1].jwt.jwks
    assert all([secret not in entry.value async for entry in desk.store.scan("")])
    assert b'"k"' not in public_part(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}, 5]}')


async def test_keys_in_a_file_are_followed(desks, tmp_path, monkeypatch):
    monkeypatch.setattr("seawall.systems.identity.controller._FILES", 0.0)
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(RSA))
    desk = await desks(jwt_table(jwks_file=str(file)))
    assert desk.token_verdict(RSA, "RS256") == BOB
    file.write_bytes(jwks(OTHER_RSA) + b"\n")
    await desk.until(lambda: desk.token_verdict(OTHER_RSA, "RS256") == BOB)
    file.write_bytes(b"rubbish")
    await desk.until(lambda: "issuer" in desk.controller.health())
    assert desk.token_verdict(OTHER_RSA, "RS256") == BOB
    file.unlink()
    await desk.until(lambda: "No such file" in desk.controller.health().get("issuer", ""))
    assert desk.token_verdict(OTHER_RSA, "RS256") == BOB
    file.write_bytes(jwks(RSA))
    await desk.until(lambda: desk.controller.health() == {})
    with pytest.raises(ConflictError, match="no url"):
        await desk.controller.perform(RefreshIssuer(action="refresh-issuer"), "me")


async def test_a_shared_secret_is_read_without_its_end_of_line(desks, tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    desk = await desks(jwt_table(secret_file=str(file)))
    assert desk.published[-1].jwt.secret == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"short\n", "at least 32"), (b"x" * 300_000, "at most 262144")],
)
async def test_a_file_that_cannot_be_used_is_refused_at_the_start(desks, tmp_path, content, said):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        await desks(jwt_table(secret_file=str(file)))


async def test_a_reload_that_cannot_be_provisioned_changes_nothing(desks, tmp_path, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    published = len(desk.published)
    with pytest.raises(ConfigurationError):
        await desk.controller.reconfigure(IdentitySettings.model_validate(jwt_table(jwks_file=str(tmp_path / "none"))))
    assert len(desk.published) == published
    assert desk.token_verdict(RSA, "RS256") == BOB


async def test_a_reload_takes_another_issuer(desks, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url))
    with IssuerServer(jwks(EC)) as other:
        await desk.controller.reconfigure(IdentitySettings.model_validate(jwt_table(jwks_url=other.url)))
        assert desk.token_verdict(EC, "ES256") == BOB
        assert desk.token_verdict(RSA, "RS256") is RefusalReason.UNKNOWN_SIGNER
    await desk.controller.reconfigure(IdentitySettings())
    assert not desk.engine.active


async def test_a_reload_while_a_fetch_hangs_does_not_wait_for_it(desks, issuer):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        desk = await desks(jwt_table(jwks_url=url, jwks_timeout_ms=60_000))
        assert desk.token_verdict(RSA, "RS256") is RefusalReason.UNAVAILABLE
        await desk.controller.reconfigure(IdentitySettings.model_validate(jwt_table(jwks_url=issuer.url)))
        assert desk.token_verdict(RSA, "RS256") == BOB
        assert desk.controller.health() == {}


async def test_other_rules_over_the_same_keys_need_neither_store_nor_issuer(desks, issuer):
    store = AwayStore(clock=SystemClock())
    desk = await desks(jwt_table(jwks_url=issuer.url), store)
    issuer.publish(b"", status=503)
    store.away = True
    table = jwt_table(jwks_url=issuer.url, role_claim="role")
    await desk.controller.reconfigure(IdentitySettings.model_validate(table))
    assert desk.token_verdict(RSA, "RS256", role="admin").role == "admin"
    assert all(snapshot.jwt.jwks for snapshot in desk.published)
    store.away = False


async def test_left_out_keys_are_findings(desks, issuer):
    issuer.publish(json.dumps({"keys": [{"kty": "oct"}, RSA.as_dict(private=False)]}).encode())
    desk = await desks(jwt_table(jwks_url=issuer.url))
    assert "key 1" in desk.controller.health()["issuer-keys"]


# -- API keys ----------------------------------------------------------------------------------------------------------


async def make(desk: Desk, **fields) -> tuple[str, str]:
    result = await desk.controller.perform(CreateKey(action="create-key", name="acme", **fields), "me")
    assert result.secret is not None
    return result.key.id, result.secret


async def test_a_key_works_from_its_making_to_its_revoking(desks):
    desk = await desks(KEYS)
    assert desk.verdict(asking(("x-api-key", "sw_0123456789ab_" + "x" * 43))) is RefusalReason.UNKNOWN_KEY
    key_id, key = await make(desk, user="bob", tenant="acme", role="partner", expires_days=30)
    await desk.until(lambda: desk.published[-1].keys)
    assert desk.verdict(asking(("x-api-key", key))) == Identity("bob", "acme", "partner", key_id, "api-key")
    await desk.controller.perform(RevokeKey(action="revoke-key", id=key_id), "me")
    await desk.until(lambda: not desk.published[-1].keys)
    assert desk.verdict(asking(("x-api-key", key))) is RefusalReason.UNKNOWN_KEY
    with pytest.raises(NotFoundError):
        await desk.controller.perform(RevokeKey(action="revoke-key", id=key_id), "me")


async def test_another_gateway_follows(desks):
    store = MemoryStore(clock=SystemClock())
    one, other = await desks(KEYS, store), await desks(KEYS, store)
    key_id, key = await make(one)
    await other.until(lambda: other.published[-1].keys)
    assert other.verdict(asking(("x-api-key", key))).api_key == key_id
    await one.controller.perform(RevokeKey(action="revoke-key", id=key_id), "me")
    await other.until(lambda: not other.published[-1].keys)
    assert other.verdict(asking(("x-api-key", key))) is RefusalReason.UNKNOWN_KEY


async def test_neither_secret_nor_digest_is_shown(desks):
    desk = await desks(KEYS)
    key_id, key = await make(desk, user="bob")
    secret = key.rpartition("_")[2]
    shown = desk.controller.status().model_dump_json() + json.dumps(desk.controller.describe(key_id))
    assert secret not in shown
    assert desk.controller._book.records[key_id].digest not in shown
    assert all([secret.encode() not in entry.value async for entry in desk.store.scan("")])


async def test_when_a_key_was_used_last_is_shown_and_shared(desks):
    store = MemoryStore(clock=SystemClock())
    desk = await desks(KEYS, store)
    key_id, key = await make(desk)
    await desk.until(lambda: desk.published[-1].keys)
    assert desk.controller.status().api_keys.keys[0].last_used_at is None
    desk.verdict(asking(("x-api-key", key)))
    desk.report()
    shown = desk.controller.status().api_keys.keys[0]
    used = shown.last_used_at
    assert used >= shown.created_at
    assert 0 <= desk.clock.wall() - used.timestamp() < 120
    await desk.controller.stop()
    later = await desks(KEYS, store)
    assert later.controller.status().api_keys.keys[0].last_used_at == used
    await later.controller.perform(RevokeKey(action="revoke-key", id=key_id), "me")
    assert [entry.key async for entry in store.scan("identity/")] == []


async def test_a_record_that_cannot_be_read_lets_nobody_in_and_is_named(desks):
    store = MemoryStore(clock=SystemClock())
    await store.put(KEY_PREFIX + "0123456789ab", b"{rubbish")
    await store.put(
        KEY_PREFIX + "0123456789ac", b'{"id":"0123456789ad","name":"a","digest":"","created_at":0,"created_by":""}'
    )
    desk = await desks(KEYS, store)
    assert desk.published[-1].keys == ()
    assert {"key:0123456789ab", "key:0123456789ac"} == set(desk.controller.health())
    await store.delete(KEY_PREFIX + "0123456789ab")
    await store.delete(KEY_PREFIX + "0123456789ac")
    await desk.until(lambda: desk.controller.health() == {})


class AwayStore(MemoryStore):
    """A store that can be taken away."""

    away = False

    async def ping(self) -> None:
        self._look()
        await super().ping()

    def scan(self, prefix):
        self._look()
        return super().scan(prefix)

    async def get(self, key):
        self._look()
        return await super().get(key)

    async def put(self, key, value, *, ttl=None):
        self._look()
        await super().put(key, value, ttl=ttl)

    def _look(self) -> None:
        if self.away:
            raise StateUnavailableError("away")


async def test_known_keys_go_on_while_the_store_is_away(desks):
    store = AwayStore(clock=SystemClock())
    desk = await desks(KEYS, store)
    _, key = await make(desk, tenant="acme")
    await desk.until(lambda: desk.published[-1].keys)
    last = desk.published[-1]
    store.away = True
    with pytest.raises(StateUnavailableError):
        await make(desk)
    assert desk.verdict(asking(("x-api-key", key))).tenant == "acme"
    with pytest.raises(StateUnavailableError):
        await desks(KEYS, store)
    resumed = await desks(KEYS, store, resume=last)
    assert resumed.published[-1].keys == last.keys
    assert "state" in resumed.controller.health()
    assert resumed.verdict(asking(("x-api-key", key))).tenant == "acme"
    store.away = False
    await resumed.until(lambda: resumed.controller.health() == {})
    assert resumed.published[-1].keys == last.keys


async def test_resuming_with_the_last_known_issuer_s_keys(desks, issuer):
    first = await desks(jwt_table(jwks_url=issuer.url))
    issuer.publish(b"", status=503)
    resumed = await desks(jwt_table(jwks_url=issuer.url), resume=first.published[-1])
    assert resumed.token_verdict(RSA, "RS256") == BOB


async def test_figures_are_summed_over_workers(desks):
    desk = await desks(KEYS)
    desk.verdict(asking())
    desk.verdict(bearing(signed(RSA, "RS256", claims())))
    desk.report()
    desk.controller.on_report(("worker-1", 1), desk.engine.report(full=True))
    desk.controller.on_worker_gone(("worker-1", 1))
    assert desk.controller.status().requests == {"api-key": 0, "jwt": 0, "headers": 0, "anonymous": 4}
    assert samples_of(desk)["identity_requests_total", "anonymous"] == 4
    assert samples_of(desk)["identity_api_keys",] == 0


async def test_quiet_times_publish_nothing(desks, issuer):
    desk = await desks(jwt_table(jwks_url=issuer.url) | KEYS)
    count = len(desk.published)
    await desk.controller.perform(RefreshIssuer(action="refresh-issuer"), "me")
    await desk.controller.reconfigure(IdentitySettings.model_validate(jwt_table(jwks_url=issuer.url) | KEYS))
    assert len(desk.published) == count
    assert isinstance(desk.published[-1], IdentitySnapshot)
