import pytest

from seawall.admin.authentication import STALE_LIMIT, Authenticator
from seawall.admin.instruments import AdminCounters
from seawall.admin.problems import ProblemError
from seawall.admin.tokens import create_token, revoke_token
from seawall.core.access import Role
from seawall.state.memory import MemoryStore
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio

_HERE = "127.0.0.1"
_STATIC = "correct-horse-battery"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


@pytest.fixture
def counters():
    return AdminCounters()


@pytest.fixture
def authenticator(store, clock, counters):
    return Authenticator(store, clock, counters)


async def _token(store, clock, role=Role.VIEWER, **changes):
    record, token = await create_token(
        store, name=role.value, role=role, now=clock.wall(), created_by="test", **changes
    )
    return record, f"Bearer {token}"


async def _refusal(authenticator, authorization, address=_HERE):
    with pytest.raises(ProblemError) as caught:
        await authenticator.authenticate(authorization, address)
    return caught.value


def _refused(counters, reason):
    return next(
        (
            sample.value
            for sample in counters.samples()
            if sample.labels == (reason,) and "auth" in sample.instrument.name
        ),
        0,
    )


async def test_a_valid_token_gives_its_name_and_role(authenticator, store, clock):
    record, bearer = await _token(store, clock, Role.OPERATOR)
    identity = await authenticator.authenticate(bearer, _HERE)
    assert (identity.token_id, identity.name, identity.role) == (record.id, "operator", Role.OPERATOR)
    assert (await authenticator.authenticate(bearer.replace("Bearer", "bEARER"), _HERE)) == identity


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("Bearer", "malformed"),
        ("Bearer   ", "malformed"),
        ("Basic YTpi", "malformed"),
        ("Bearer nonsense", "unknown"),
        (f"Bearer sw_{'0' * 12}_{'A' * 43}", "unknown"),
    ],
)
async def test_what_is_no_valid_token_is_refused_and_counted(authenticator, counters, authorization, reason):
    error = await _refusal(authenticator, authorization)
    assert error.status == 401
    assert error.headers["WWW-Authenticate"].startswith("Bearer")
    assert _refused(counters, reason) == 1


async def test_a_revoked_token_is_refused_within_five_seconds(authenticator, store, clock):
    record, bearer = await _token(store, clock)
    await authenticator.authenticate(bearer, _HERE)
    await revoke_token(store, record.id)
    clock.advance(5.0)
    assert (await _refusal(authenticator, bearer)).status == 401


async def test_a_revocation_by_this_process_counts_at_once(authenticator, store, clock):
    record, bearer = await _token(store, clock)
    await authenticator.authenticate(bearer, _HERE)
    await revoke_token(store, record.id)
    authenticator.book.forget(record.id)
    assert (await _refusal(authenticator, bearer)).status == 401


async def test_a_token_made_elsewhere_is_known_at_once(authenticator, store, clock):
    _, first = await _token(store, clock)
    await authenticator.authenticate(first, _HERE)
    _, second = await _token(store, clock)
    assert (await authenticator.authenticate(second, _HERE)).role is Role.VIEWER


async def test_an_expired_token_is_refused_and_named(authenticator, store, clock, counters):
    _, bearer = await _token(store, clock, expires_at=clock.wall() + 60)
    await authenticator.authenticate(bearer, _HERE)
    clock.advance(60)
    error = await _refusal(authenticator, bearer)
    assert error.status == 401
    assert "expired" in error.detail
    assert _refused(counters, "expired") == 1


async def test_with_the_store_away_known_tokens_work_for_a_while_and_then_nothing_does(authenticator, store, clock):
    _, bearer = await _token(store, clock)
    await authenticator.authenticate(bearer, _HERE)
    await store.close()
    clock.advance(STALE_LIMIT - 1)
    await authenticator.authenticate(bearer, _HERE)
    clock.advance(2)
    error = await _refusal(authenticator, bearer)
    assert (error.status, error.code) == (503, "state-unavailable")


async def test_with_the_store_away_from_the_start_nothing_is_let_in_but_the_static_token(store, clock, counters):
    authenticator = Authenticator(store, clock, counters, static_token=_STATIC)
    _, bearer = await _token(store, clock)
    await store.close()
    assert (await _refusal(authenticator, bearer)).status == 503
    assert _refused(counters, "unavailable") == 1
    assert (await authenticator.authenticate(f"Bearer {_STATIC}", _HERE)).role is Role.ADMIN


@pytest.mark.parametrize("static", [_STATIC, f"sw_{'a' * 12}_{'B' * 43}"])
async def test_nobody_without_a_token_locks_out_the_static_token(store, clock, counters, static):
    authenticator = Authenticator(store, clock, counters, static_token=static)
    statuses = [(await _refusal(authenticator, f"Bearer garbage{number}")).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await authenticator.authenticate(f"Bearer {static}", _HERE)).role is Role.ADMIN
    # Letting the right one in forgives the others nothing.
    assert (await _refusal(authenticator, "Bearer garbage")).status == 429


async def test_garbage_and_a_tokens_own_failures_are_counted_apart(authenticator, store, clock):
    record, _ = await _token(store, clock)
    for number in range(10):
        await _refusal(authenticator, f"Bearer garbage{number}")
    assert (await _refusal(authenticator, "Bearer garbage")).status == 429
    assert (await _refusal(authenticator, f"Bearer sw_{record.id}_{'A' * 43}")).status == 401
    assert (await _refusal(authenticator, "Bearer garbage", "192.0.2.9")).status == 401


async def test_guessing_is_braked_per_address_and_forgiven_with_time(authenticator, store, clock, counters):
    record, bearer = await _token(store, clock)
    guess = f"Bearer sw_{record.id}_{'A' * 43}"
    for _ in range(10):
        assert (await _refusal(authenticator, guess)).status == 401
    error = await _refusal(authenticator, guess)
    assert error.status == 429
    assert int(error.headers["Retry-After"]) == 6
    assert _refused(counters, "throttled") == 1
    assert (await _refusal(authenticator, guess, "192.0.2.9")).status == 401
    # The right secret gets through: otherwise anyone who knows a token's public id could lock out its owner.
    assert (await authenticator.authenticate(bearer, _HERE)).token_id == record.id
    clock.advance(6.0)
    assert (await _refusal(authenticator, guess)).status == 401
    assert (await _refusal(authenticator, guess)).status == 429


async def test_a_neighbour_with_a_revoked_token_locks_out_nobody(authenticator, store, clock):
    revoked, stale = await _token(store, clock)
    _, good = await _token(store, clock)
    await revoke_token(store, revoked.id)
    for _ in range(50):
        assert (await _refusal(authenticator, stale)).status in {401, 429}
    assert (await authenticator.authenticate(good, _HERE)).role is Role.VIEWER


async def test_unknown_tokens_do_not_flood_the_store(authenticator, store, clock):
    _, good = await _token(store, clock)
    await authenticator.authenticate(good, _HERE)
    guess = f"Bearer sw_{'0' * 12}_{'A' * 43}"
    for number in range(20):
        assert (await _refusal(authenticator, guess, f"192.0.2.{number}")).status == 401
    await store.close()
    # No look at the store is left, so a further guess does not even notice that the store is gone.
    assert (await _refusal(authenticator, guess)).status == 401
    clock.advance(0.1)
    assert (await _refusal(authenticator, guess)).status == 503
    assert (await authenticator.authenticate(good, _HERE)).role is Role.VIEWER


async def test_a_static_token_of_the_generated_form_works_too(store, clock, counters):
    token = f"sw_{'a' * 12}_{'B' * 43}"
    authenticator = Authenticator(store, clock, counters, static_token=token)
    assert authenticator.has_static_token
    assert (await authenticator.authenticate(f"Bearer {token}", _HERE)).name == "environment"
    assert (await _refusal(authenticator, f"Bearer {token[:-1]}C")).status == 401
