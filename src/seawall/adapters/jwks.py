"""Key sets over HTTP by httpx: bounded in time and bytes, without redirects; httpx is imported when one is fetched."""

import asyncio
import re
import ssl
from urllib.parse import urlsplit

from seawall.core.errors import ConfigurationError
from seawall.core.tokens import FetchedKeys, KeysUnavailableError

__all__ = ["fetch_keys"]

_MAX_AGE = re.compile(r"max-age=\"?(\d{1,10})\"?", re.ASCII)


async def fetch_keys(url: str, *, timeout: float, max_bytes: int, ca_file: str = "") -> FetchedKeys:  # noqa: ASYNC109 - the whole exchange is bounded by it
    """Fetch a JWK set once; implements `seawall.core.tokens.FetchKeys`.

    Proxies of the environment (`HTTPS_PROXY`) are used. Redirects are not followed: they could lead from https to http,
    or to a host that nobody chose.

    Args:
        url: where it is.
        timeout: seconds for the whole exchange.
        max_bytes: largest body that is taken; it must not be compressed.
        ca_file: PEM file of the authorities to trust in place of the system's.

    Raises:
        ConfigurationError: httpx is not installed, or the CA file cannot be used.
        KeysUnavailableError: there is no such answer.
    """
    try:
        import httpx  # noqa: PLC0415 - optional, needed only with a url
    except ImportError as error:
        raise ConfigurationError("fetching keys needs the package httpx", hint="pip install 'seawall[jwt]'") from error
    trust = await asyncio.to_thread(_trust, ca_file) if urlsplit(url).scheme == "https" else False
    try:
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(verify=trust, follow_redirects=False, timeout=timeout) as client,
            client.stream(
                "GET",
                url,
                headers={"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"},
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise KeysUnavailableError(f"{_shown(url)} answered {response.status_code}, expected 200")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise KeysUnavailableError(f"{_shown(url)} answered compressed, which nobody asked for")
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > max_bytes:
                    raise KeysUnavailableError(f"{_shown(url)} answered more than {max_bytes} bytes")
            return FetchedKeys(bytes(body), _max_age(response.headers.get("cache-control", "")))
    except TimeoutError as error:
        raise KeysUnavailableError(f"{_shown(url)} did not answer within {timeout:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise KeysUnavailableError(f"{_shown(url)} cannot be fetched: {str(error) or type(error).__name__}") from error


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(
            f"the CA bundle {ca_file} cannot be used: {error}", hint="jwks_ca_file is a readable file in PEM form"
        ) from error


def _shown(url: str) -> str:
    """Return the url without its query, which may hold a secret."""
    return url.partition("?")[0]


def _max_age(cache_control: str) -> float | None:
    """Return for how many seconds an answer is fresh (RFC 9111 section 5.2.2), None where it does not say."""
    directives = [directive.strip().lower() for directive in cache_control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for directive in directives:
        match = _MAX_AGE.fullmatch(directive)
        if match:
            return float(match[1])
    return None
