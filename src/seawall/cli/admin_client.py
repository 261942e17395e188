"""The admin API as the command line calls it: one request, one answer, and refusals in the API's own words."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from seawall.config.address import ListenAddress, parse_listen
from seawall.core.errors import ConfigurationError, SeawallError

__all__ = ["AdminClient", "AdminRefusalError"]

_TIMEOUT = 10.0
_MAX_ANSWER = 64 * 1024 * 1024
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to connect instead


class AdminRefusalError(SeawallError):
    """The admin API refused; `status` is the HTTP status."""

    code = "admin-refused"

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class AdminClient:
    """Calls of a running gateway's admin API; each takes up to 10 s.

    Args:
        where: `host:port`, `[v6]:port` or `unix:/path`.
        token: bearer token.
    """

    def __init__(self, where: str, token: str) -> None:
        self.where = where
        self._address = parse_listen(where)
        self._token = token

    @classmethod
    def configured(cls, config: Path | None, where: str | None) -> "AdminClient":
        """Return a client of the configured admin API, or of the one that is named.

        Raises:
            ConfigurationError: the configuration is refused, or nothing tells the address or the token.
        """
        # Imported here: the configuration costs a quarter of a second of imports that `seawall --help` need not pay.
        from seawall.config.loader import load  # noqa: PLC0415
        from seawall.control.tree import Settings  # noqa: PLC0415

        settings = load(Settings, file=config, environ=os.environ, overrides={}).settings.admin
        where = where or settings.listen
        token = settings.token.get_secret_value()
        try:
            address = parse_listen(where)
        except ValueError as error:
            raise ConfigurationError(f"--admin {where!r} is no address", hint=f"give {error}") from error
        if not address.path and address.port == 0:
            raise ConfigurationError(
                f"admin.listen = {where!r} takes a free port, so nothing tells which one it is",
                hint="give --admin host:port, as the line that the gateway prints at its start tells it",
            )
        if not token:
            raise ConfigurationError(
                "the admin API needs a token, and there is none",
                hint="set SEAWALL_ADMIN_TOKEN, for example to the output of: "
                "seawall token create --name me --role operator",
            )
        return cls(where, token)

    def get(self, path: str) -> Any:  # noqa: ANN401 - a JSON value
        """Return what is at a path.

        Raises:
            AdminRefusalError: the API refused, or did not answer.
        """
        return self._call("GET", path, None)

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - a JSON value
        """Send a JSON value to a path and return the answer; raises as `get`."""
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Any:  # noqa: ANN401 - a JSON value
        connection = _Connection(self._address)
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            raw = response.read(_MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise AdminRefusalError(
                f"the admin API at {self.where} does not answer: {error}",
                hint="start the gateway, or name its admin API with --admin",
            ) from error
        finally:
            connection.close()
        try:
            answer = json.loads(raw)
        except ValueError as error:
            raise AdminRefusalError(
                f"what answers at {self.where} is not Seawall's admin API (status {response.status})",
                status=response.status,
            ) from error
        if response.status >= 400:
            raise _refusal(response.status, answer)
        return answer


class _Connection(http.client.HTTPConnection):
    """A connection to a host and port, or to a Unix socket."""

    def __init__(self, address: ListenAddress) -> None:
        self._path = address.path
        super().__init__(_ANY_ADDRESS.get(address.host, address.host), address.port, timeout=_TIMEOUT)

    def connect(self) -> None:
        """Connect; called by the base class with the first request."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def _refusal(status: int, answer: object) -> AdminRefusalError:
    """Return a problem (RFC 9457) as an error that tells every finding."""
    problem = answer if isinstance(answer, dict) else {}
    lines = [str(problem.get("detail") or f"status {status}")]
    findings = problem.get("errors") or []
    if len(findings) == 1 and str(findings[0].get("detail")) in lines[0]:
        findings = []
    for finding in findings:
        pointer = str(finding.get("pointer") or "").removeprefix("/body/").replace("/", ".")
        lines.append(f"  - {pointer}: {finding.get('detail')}" if pointer else f"  - {finding.get('detail')}")
    return AdminRefusalError("\n".join(lines), hint=str(problem.get("hint") or ""), status=status)
