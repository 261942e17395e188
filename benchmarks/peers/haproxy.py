"""HAProxy as the gateway, measured when it is installed: one thread, round robin, active health checks."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["configure"]

_CONFIGURATION = """
global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse aggressive
frontend gateway
  bind 127.0.0.1:{port}
  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  default_backend pool
backend pool
  balance roundrobin
  option httpchk GET /health
{servers}
"""


def configure(port: int, upstreams: Sequence[int], folder: Path) -> list[str]:
    """Write the configuration and return the command that runs HAProxy in the foreground."""
    servers = "\n".join(
        f"  server s{index} 127.0.0.1:{upstream} check inter 5s" for index, upstream in enumerate(upstreams)
    )
    path = folder / "haproxy.cfg"
    path.write_text(_CONFIGURATION.format(port=port, servers=servers))
    return ["haproxy", "-db", "-q", "-f", str(path)]
