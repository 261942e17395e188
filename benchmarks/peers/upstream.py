"""The two servers behind every gateway: nginx with a fixed answer, far quicker than any proxy in front of it."""

import json
from pathlib import Path

__all__ = ["BODY", "NAMES", "configure"]

NAMES = ("a", "b")
BODY = json.dumps(
    {
        "id": 4711,
        "name": "sea wall",
        "tags": ["quay", "mole", "groyne", "breakwater", "revetment"],
        "position": {"latitude": 54.3233, "longitude": 10.1228},
        "height_m": 7.5,
        "inspected": "2026-01-15T09:30:00Z",
    },
    separators=(",", ":"),
)
"""About 200 bytes of JSON, the size of a small API answer."""

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/upstream-{name}.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/upstream-{name}-body;
  proxy_temp_path {folder}/upstream-{name}-proxy;
  fastcgi_temp_path {folder}/upstream-{name}-fastcgi;
  uwsgi_temp_path {folder}/upstream-{name}-uwsgi;
  scgi_temp_path {folder}/upstream-{name}-scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    add_header X-Upstream {name};
    location / {{ return 200 '{body}'; }}
  }}
}}
"""


def configure(name: str, port: int, folder: Path) -> list[str]:
    """Write one upstream's configuration and return the command that runs it in the foreground."""
    path = folder / f"upstream-{name}.conf"
    path.write_text(_CONFIGURATION.format(name=name, port=port, folder=folder, body=BODY))
    return ["nginx", "-e", "stderr", "-c", str(path), "-p", str(folder)]
