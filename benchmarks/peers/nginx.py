"""nginx as the gateway: one worker, keep-alive to the upstreams, its passive health checks, its request counters."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["configure"]

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_requests 1000000000;
  upstream pool {{
{servers}
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /nginx-status {{ stub_status; }}
    location / {{
      proxy_pass http://pool;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_next_upstream error timeout;
    }}
  }}
}}
"""


def configure(port: int, upstreams: Sequence[int], folder: Path) -> list[str]:
    """Write the configuration and return the command that runs nginx in the foreground."""
    servers = "\n".join(f"    server 127.0.0.1:{upstream} max_fails=3 fail_timeout=5s;" for upstream in upstreams)
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(port=port, servers=servers, folder=folder))
    return ["nginx", "-e", "stderr", "-c", str(path), "-p", str(folder)]
