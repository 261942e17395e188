"""Fetching a key set from a real server: what is taken, and every answer that is not."""

import socket

import pytest

from identity_tokens import EC, IssuerServer, jwks
from seawall.adapters.jwks import fetch_keys
from seawall.core.errors import ConfigurationError
from seawall.core.tokens import KeysUnavailableError

pytestmark = pytest.mark.anyio

DOCUMENT = jwks(EC)


@pytest.fixture
def issuer():
    with IssuerServer(DOCUMENT) as server:
        yield server


async def fetched(url: str, *, timeout: float = 5.0, max_bytes: int = 65_536, **more):  # noqa: ASYNC109 - passed on
    return await fetch_keys(url, timeout=timeout, max_bytes=max_bytes, **more)


async def test_a_set_is_fetched(issuer):
    answer = await fetched(issuer.url)
    assert (answer.document, answer.max_age) == (DOCUMENT, None)


@pytest.mark.parametrize(
    ("field", "age"),
    [
        ("max-age=300", 300.0),
        ("public, MAX-AGE=300, must-revalidate", 300.0),
        ('max-age="5"', 5.0),
        ("no-store", 0.0),
        ("max-age=300, no-cache", 0.0),
        ("max-age=-5", None),
        ("max-age=", None),
        ("max-age=99999999999999999999", None),
        ("s-maxage=60", None),
    ],
)
async def test_how_long_it_may_be_kept(issuer, field, age):
    issuer.publish(DOCUMENT, [("cache-control", field)])
    assert (await fetched(issuer.url)).max_age == age


@pytest.mark.parametrize("status", [201, 204, 304, 401, 404, 500, 503])
async def test_another_status_is_no_answer(issuer, status):
    issuer.publish(b"" if status in {204, 304} else DOCUMENT, status=status)
    with pytest.raises(KeysUnavailableError, match=f"answered {status}"):
        await fetched(issuer.url)


async def test_redirects_are_not_followed(issuer):
    issuer.publish(b"", [("location", issuer.url)], status=302)
    with pytest.raises(KeysUnavailableError, match="answered 302"):
        await fetched(issuer.url)
    assert issuer.asked == 1


async def test_a_large_answer_is_cut_short(issuer):
    issuer.publish(b"x" * 70_000)
    with pytest.raises(KeysUnavailableError, match="more than 65536 bytes"):
        await fetched(issuer.url)
    assert len((await fetched(issuer.url, max_bytes=70_000)).document) == 70_000


async def test_a_compressed_answer_is_refused(issuer):
    issuer.publish(b"\x1f\x8b", [("content-encoding", "gzip")])
    with pytest.raises(KeysUnavailableError, match="compressed"):
        await fetched(issuer.url)


async def test_an_answer_that_breaks_off_is_none(issuer):
    issuer.publish(DOCUMENT, [("content-length", str(len(DOCUMENT) + 10))])
    with pytest.raises(KeysUnavailableError, match=r"cannot be fetched|did not answer"):
        await fetched(issuer.url, timeout=1.0)


async def test_nobody_there(issuer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(KeysUnavailableError, match="cannot be fetched"):
            await fetched(f"http://127.0.0.1:{free.getsockname()[1]}/?secret=1")


async def test_somebody_who_never_answers_and_the_query_stays_secret():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(KeysUnavailableError, match="did not answer within") as caught:
            await fetched(f"http://127.0.0.1:{silent.getsockname()[1]}/?secret=1", timeout=0.2)
    assert "secret" not in str(caught.value)


async def test_a_server_that_cannot_prove_itself_is_not_asked(issuer):
    with pytest.raises(KeysUnavailableError, match="cannot be fetched"):
        await fetched(issuer.url.replace("http:", "https:"))


async def test_a_ca_file_that_cannot_be_read_is_named(issuer, tmp_path):
    with pytest.raises(ConfigurationError, match="CA bundle"):
        await fetched(issuer.url.replace("http:", "https:"), ca_file=str(tmp_path / "none.pem"))
