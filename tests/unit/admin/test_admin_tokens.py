import io
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.admin.authentication import ensure_admin_token
from seawall.admin.tokens import (
    MAX_TOKENS,
    TOKEN_PREFIX,
    TokenLimitError,
    create_token,
    list_tokens,
    make_record,
    parse_token,
    revoke_token,
)
from seawall.core.access import Role
from seawall.core.errors import InvalidError
from seawall.state.memory import MemoryStore
from seawall.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


async def _create(store, clock, **changes):
    given = {"name": "ci", "role": Role.OPERATOR, "now": clock.wall(), "created_by": "test"} | changes
    return await create_token(store, **given)


async def test_a_token_is_kept_without_its_secret(store, clock):
    record, token = await _create(store, clock)
    parsed = parse_token(token)
    assert parsed is not None
    token_id, secret = parsed
    kept = await store.get(TOKEN_PREFIX + token_id)
    assert kept is not None
    assert secret.encode() not in kept
    assert record.matches(secret)
    assert not record.matches(secret[:-1] + ("A" if secret[-1] != "A" else "B"))


async def test_equal_secrets_have_unequal_digests():
    first, second = (
        make_record(token_id="0" * 12, secret="s" * 43, name="a", role=Role.VIEWER, now=0.0, created_by="test")
        for _ in range(2)
    )
    assert first.digest != second.digest
    assert first.matches("s" * 43)
    assert second.matches("s" * 43)


async def test_tokens_are_listed_oldest_first_and_revoked_by_id(store, clock):
    first, _ = await _create(store, clock, name="first")
    clock.advance(1)
    second, _ = await _create(store, clock, name="second")
    assert [record.name for record in await list_tokens(store)] == ["first", "second"]
    assert (await revoke_token(store, first.id)) == first
    assert await list_tokens(store) == [second]
    assert await revoke_token(store, first.id) is None


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 65, "é", "a\n", "a/b"])
async def test_a_name_that_is_not_acceptable_is_refused(store, clock, name):
    with pytest.raises(InvalidError, match="not acceptable"):
        await _create(store, clock, name=name)
    assert await list_tokens(store) == []


async def test_an_expiry_in_the_past_is_refused(store, clock):
    with pytest.raises(InvalidError, match="expired already"):
        await _create(store, clock, expires_at=clock.wall())


async def test_an_expired_token_stays_known_for_a_day_then_goes(store, clock):
    record, _ = await _create(store, clock, expires_at=clock.wall() + 60)
    clock.advance(61)
    assert record.expired(clock.wall())
    assert await list_tokens(store) == [record]
    clock.advance(86_400)
    assert await list_tokens(store) == []


async def test_the_number_of_tokens_is_bounded(store, clock):
    record, _ = await _create(store, clock)
    for number in range(MAX_TOKENS - 1):
        token_id = f"{number:012x}"
        copy = msgspec.structs.replace(record, id=token_id)
        await store.put(TOKEN_PREFIX + token_id, msgspec.json.encode(copy))
    with pytest.raises(TokenLimitError, match=str(MAX_TOKENS)):
        await _create(store, clock)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"not json",
        lambda record: b"{}",
        lambda record: msgspec.json.encode(msgspec.structs.replace(record, salt="not hex")),
        lambda record: msgspec.json.encode(msgspec.structs.replace(record, id="ffffffffffff")),
    ],
)
async def test_a_damaged_record_is_refused_with_a_warning_and_the_rest_works(store, clock, caplog, damage):
    record, _ = await _create(store, clock)
    good, _ = await _create(store, clock)
    await store.put(TOKEN_PREFIX + record.id, damage(record))
    assert await list_tokens(store) == [good]
    assert record.id in caplog.text


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fail(text):
    parsed = parse_token(text)
    assert parsed is None or text == f"sw_{parsed[0]}_{parsed[1]}"


@given(
    st.text("0123456789abcdef", min_size=12, max_size=12),
    st.text(string.ascii_letters + "_-", min_size=43, max_size=43),
)
def test_every_well_formed_token_is_parsed(token_id, secret):
    assert parse_token(f"sw_{token_id}_{secret}") == (token_id, secret)


async def test_the_first_start_prints_an_admin_token_once_and_logs_nothing(store, clock, caplog):
    caplog.set_level("DEBUG")
    out = io.StringIO()
    assert await ensure_admin_token(store, clock, out=out)
    [record] = await list_tokens(store)
    token = next(word for word in out.getvalue().split() if word.startswith("sw_"))
    parsed = parse_token(token)
    assert parsed is not None
    assert parsed[0] == record.id
    assert record.role is Role.ADMIN
    assert record.matches(parsed[1])
    assert parsed[1] not in caplog.text
    again = io.StringIO()
    assert not await ensure_admin_token(store, clock, out=again)
    assert again.getvalue() == ""


async def test_an_expired_or_lesser_token_does_not_count_as_admin(store, clock):
    await _create(store, clock, role=Role.OPERATOR)
    await _create(store, clock, role=Role.ADMIN, expires_at=clock.wall() + 60)
    clock.advance(61)
    assert await ensure_admin_token(store, clock, out=io.StringIO())
