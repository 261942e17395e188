"""Keys and tokens of a made-up issuer, and a real HTTP server that publishes its keys."""

import base64
import http.server
import json
import threading
import warnings
from collections.abc import Iterable
from typing import Any, Self

from joserfc import jwk, jws
from joserfc.errors import SecurityWarning

from seawall.core.request import Request

ISSUER = "https://issuer.example/"
AUDIENCE = "orders"
NOW = 1_700_000_000.0

RSA = jwk.RSAKey.generate_key(2048, {"kid": "rsa-1"})
OTHER_RSA = jwk.RSAKey.generate_key(2048, {"kid": "rsa-2"})
EC = jwk.ECKey.generate_key("P-256", {"kid": "ec-1"})
EC384 = jwk.ECKey.generate_key("P-384", {"kid": "ec-384"})
ED = jwk.OKPKey.generate_key("Ed25519", {"kid": "ed-1"})
SECRET = b"0123456789abcdef0123456789abcdef"


def jwks(*keys: Any, **members: Any) -> bytes:
    """Return the public keys as a JWK set; `members` go into every key."""
    return json.dumps({"keys": [{**key.as_dict(private=False), **members} for key in keys]}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token with changes; a change to None leaves a claim out."""
    full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "bob", "exp": NOW + 300, **changes}
    return {name: value for name, value in full.items() if value is not None}


def signed(key: Any, algorithm: str, payload: object = None, **header: Any) -> bytes:
    """Return a token over a payload: claims, or bytes as they are."""
    content = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    full = {"alg": algorithm, "typ": "JWT", "kid": key.kid, **header}
    kept = {name: value for name, value in full.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        return jws.serialize_compact(kept, content, key, registry=registry).encode()


def encoded(part: object) -> bytes:
    """Return a part of a token: JSON, or bytes as they are, in base64url."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def assembled(header: object, payload: object, signature: bytes) -> bytes:
    """Return a token put together by hand."""
    return b".".join((encoded(header), encoded(payload), encoded(signature)))


def asking(*headers: tuple[str, bytes | str], peer: str = "203.0.113.9") -> Request:
    """Return a request with these fields."""
    fields = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers]
    return Request("GET", b"/", [(b"host", b"shop.example"), *fields], peer=peer)


def bearing(token: bytes, *more: tuple[str, bytes | str], peer: str = "203.0.113.9") -> Request:
    """Return a request with a token."""
    return asking(("authorization", b"Bearer " + token), *more, peer=peer)


class IssuerServer:
    """A server that publishes keys; what it answers can be changed while it runs.

    Attributes:
        answers: (status, fields, body) for each of the next requests; the last one stays.
        asked: how many requests came.
    """

    def __init__(self, body: bytes, fields: Iterable[tuple[str, str]] = (), status: int = 200) -> None:
        self.asked = 0
        self.publish(body, fields, status)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                status, fields, body = issuer.answer
                self.send_response(status)
                for name, value in fields:
                    self.send_header(name, value)
                if not any(name.lower() == "content-length" for name, _ in fields):
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/jwks.json"

    def publish(self, body: bytes, fields: Iterable[tuple[str, str]] = (), status: int = 200) -> None:
        """Answer this from now on."""
        self.answer = (status, tuple(fields), body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
