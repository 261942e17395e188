"""The `[gateway]` table: how the HTTP data plane listens and what it takes from clients."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from seawall.config.address import check_header_name, check_network, parse_listen
from seawall.config.section import Integer, Milliseconds, Section, Switch, setting

__all__ = ["GatewaySettings", "Listen"]


def _check_listen(text: str) -> str:
    parse_listen(text)
    return text


Listen = Annotated[str, AfterValidator(_check_listen)]


class GatewaySettings(Section):
    """How the HTTP data plane listens and what it takes from clients."""

    listen: Listen = setting(
        "127.0.0.1:8080", "Where clients connect: host:port, [v6]:port or unix:/path. Port 0 takes a free one."
    )
    workers: Integer = setting(
        0, "Worker processes that share the listening port; 0 starts one per core.", unit="processes", ge=0, le=1024
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(check_network)], ...] = setting(
        (), "Addresses and networks whose Forwarded and X-Forwarded-* fields are believed."
    )
    client_address_from: Literal["x-forwarded-for", "forwarded"] = setting(
        "x-forwarded-for",
        "The field in which the trusted proxies hand down the client's address; the other one is never believed.",
    )
    max_header_bytes: Integer = setting(
        32_768, "Largest request head (fields, names included).", unit="bytes", ge=1024, le=1_048_576
    )
    max_headers: Integer = setting(100, "Most fields in a request head.", unit="fields", ge=1, le=10_000)
    max_target_bytes: Integer = setting(8192, "Longest request target.", unit="bytes", ge=64, le=1_048_576)
    max_body_bytes: Integer = setting(0, "Largest request body; 0 for no limit.", unit="bytes", ge=0)
    max_connections: Integer = setting(
        10_000, "Open client connections per worker; more are not accepted.", unit="connections", ge=1, le=10_000_000
    )
    header_timeout_ms: Milliseconds = setting(10_000, "Time for a client to finish its request head.", unit="ms")
    body_timeout_ms: Milliseconds = setting(30_000, "Time a client may be idle within a body.", unit="ms")
    keepalive_timeout_ms: Milliseconds = setting(
        60_000, "Time an idle client connection is kept between requests.", unit="ms"
    )
    max_requests_per_connection: Integer = setting(
        0, "Requests after which a client connection is closed; 0 for no limit.", unit="requests", ge=0
    )
    drain_timeout_ms: Milliseconds = setting(
        30_000, "Time that requests in flight get to finish when the gateway stops.", unit="ms"
    )
    forwarded: Literal["append", "replace"] = setting(
        "append",
        "What becomes of a trusted proxy's Forwarded and X-Forwarded-For: append this hop to them, or replace them.",
    )
    via: Annotated[str, AfterValidator(lambda text: text and check_header_name(text))] = setting(
        "seawall", "Pseudonym of this gateway in the Via field; empty leaves it out.", max_length=128
    )
    request_id_header_trusted: Switch = setting(
        False, "Keep the X-Request-Id of trusted proxies in place of a new one."
    )
