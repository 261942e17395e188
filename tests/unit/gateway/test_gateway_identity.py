"""Who calls, in the gateway: proven credentials count, others are refused and limited like anything else."""

import hashlib

import msgspec
import pytest

from gateway_harness import BALANCING, RATELIMIT, Gateway, Peer, gateway, get
from seawall.core.system import System
from seawall.systems.identity.apikeys import digest_of
from seawall.systems.identity.engine import IdentityEngine
from seawall.systems.identity.model import ApiKeySnapshot, HeadersSnapshot, IdentityReport, IdentitySnapshot
from seawall.systems.ratelimit.model import RuleSnapshot, WindowSnapshot

pytestmark = pytest.mark.anyio

IDENTITY = System(
    name="identity",
    settings=object,
    snapshot=IdentitySnapshot,
    report=IdentityReport,
    engine=lambda context: IdentityEngine(context.token_keys),
    controller=lambda _: (_ for _ in ()).throw(AssertionError("no controller in a worker")),
    instruments=(),
)
SYSTEMS = (BALANCING, IDENTITY, RATELIMIT)


class BrokenIdentity(IdentityEngine):
    """An engine with a defect."""

    def identify(self, request, wall):
        raise ZeroDivisionError(request.path)


class BrokenRewrite(IdentityEngine):
    """Another one."""

    def upstream_fields(self, request):
        raise ZeroDivisionError(request.path)


def api_key(name: str) -> tuple[ApiKeySnapshot, bytes]:
    """A key of this user, and the field that shows it."""
    key_id = hashlib.sha256(name.encode()).hexdigest()[:12]
    secret = b"s" * 43
    return ApiKeySnapshot(key_id, digest_of(key_id, secret), user=name, role="admin"), b"X-Api-Key: sw_%b_%b" % (
        key_id.encode(),
        secret,
    )


def identify(running: Gateway, *keys: ApiKeySnapshot, **fields) -> None:
    running.version += 1
    snapshot = IdentitySnapshot(version=running.version, key_field="x-api-key", keys=keys, **fields)
    running.worker.apply("identity", msgspec.msgpack.encode(snapshot))


def limit(running: Gateway, most: float, *key: str) -> None:
    window = WindowSnapshot(name="calls", limit=most, window=3600.0)
    running.limit(RuleSnapshot(id="calls", key=key, windows=(window,), roles={"admin": 2.0}))


async def test_callers_are_counted_by_who_they_are():
    (alice, shown_by_alice), (bob, shown_by_bob) = api_key("alice"), api_key("bob")
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        identify(running, alice, bob)
        limit(running, 1, "user")
        assert [(await running.ask(get(b"/", shown_by_alice))).status for _ in range(3)] == [200, 200, 429]
        assert (await running.ask(get(b"/", shown_by_bob))).status == 200
        assert [(await running.ask(get())).status for _ in range(2)] == [200, 429]


async def test_a_wrong_credential_is_refused_and_guessing_is_limited_by_address():
    _, shown = api_key("mallory")
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        identify(running)
        limit(running, 2, "client")
        client = await running.client()
        answers = [await client.ask(get(b"/", shown)) for _ in range(3)]
        assert [answer.status for answer in answers] == [401, 401, 429]
        assert answers[0].problem["code"] == "invalid-credentials"
        assert answers[0].get(b"www-authenticate") == b'ApiKey realm="seawall"'
        assert running.upstreams[0].requests == []


async def test_without_limits_identity_works_alone():
    _, shown = api_key("mallory")
    async with gateway(Peer.serve, systems=(BALANCING, IDENTITY)) as running:
        identify(running, required=True)
        assert (await running.ask(get())).problem["code"] == "credentials-required"
        assert (await running.ask(get(b"/", shown))).status == 401


async def test_the_upstream_hears_who_calls_and_not_what_the_client_claims():
    alice, shown = api_key("alice")
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        identify(running, alice, forward_identity=True, forward_credentials=False)
        assert (await running.ask(get(b"/", shown, b"X-Seawall-User: root", b"X_Seawall_Role: root"))).status == 200
        assert (await running.ask(get(b"/", b"X-Seawall-User: root"))).status == 200
        known, stranger = running.upstreams[0].requests
        assert (known.get(b"x-seawall-user"), known.get(b"x-seawall-role")) == (b"alice", b"admin")
        assert known.get(b"x-api-key") is None
        assert known.get(b"x_seawall_role") is None
        assert stranger.get(b"x-seawall-user") is None


async def test_only_trusted_proxies_say_who_calls():
    async with gateway(Peer.serve, systems=SYSTEMS) as running:
        identify(running, headers=HeadersSnapshot(user="x-user"))
        limit(running, 1, "user")
        asked = get(b"/", b"X-User: alice")
        assert [(await running.ask(asked)).status for _ in range(2)] == [200, 429]
        assert running.upstreams[0].requests[0].get(b"x-user") is None
        running.configure(trusted_proxies=("127.0.0.1",))
        assert [(await running.ask(asked)).status for _ in range(2)] == [200, 429]
        assert running.upstreams[0].requests[1].get(b"x-user") == b"alice"
        assert (await running.ask(get(b"/", b"X-User: bob"))).status == 200


@pytest.mark.parametrize("engine", [BrokenIdentity, BrokenRewrite])
async def test_a_defect_lets_nobody_in(engine):
    broken = msgspec.structs.replace(IDENTITY, engine=lambda context: engine(context.token_keys))
    async with gateway(Peer.serve, systems=(BALANCING, broken, RATELIMIT)) as running:
        identify(running, forward_identity=True)
        answer = await running.ask(get())
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
        assert msgspec.json.decode(answer.body)["code"] == "stage-failed"
        assert running.upstreams[0].requests == []
        assert running.worker.runtime.pipeline.failures.counts == {"identity": 1}
