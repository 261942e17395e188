"""nginx with ModSecurity 3 and the OWASP Core Rule Set of Debian's packages, blocking, at its default paranoia of 1."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["PACKAGES", "configure", "is_installed"]

PACKAGES = ("libnginx-mod-http-modsecurity", "modsecurity-crs")

_MODULE = Path("/usr/lib/nginx/modules/ngx_http_modsecurity_module.so")
_SETUP = Path("/etc/modsecurity/crs/crs-setup.conf")
_RULES = Path("/usr/share/modsecurity-crs/rules")
_BASE = Path("/etc/nginx/modsecurity.conf")

_CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/modsecurity.pid;
error_log {folder}/modsecurity-error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/modsecurity-body;
  client_body_buffer_size 64k;
  proxy_temp_path {folder}/modsecurity-proxy;
  fastcgi_temp_path {folder}/modsecurity-fastcgi;
  uwsgi_temp_path {folder}/modsecurity-uwsgi;
  scgi_temp_path {folder}/modsecurity-scgi;
  keepalive_requests 1000000000;
  modsecurity on;
  modsecurity_rules_file {folder}/modsecurity-rules.conf;
  upstream pool {{
{servers}
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://pool;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
}}
"""


def is_installed() -> bool:
    """Return whether the packages are here."""
    return _MODULE.exists() and _SETUP.exists() and _RULES.is_dir() and _BASE.exists()


def configure(port: int, upstreams: Sequence[int], folder: Path) -> list[str]:
    """Write the configuration and return the command that runs it in the foreground."""
    rules = folder / "modsecurity-rules.conf"
    rules.write_text(
        f"Include {_BASE}\nSecRuleEngine On\nSecAuditEngine Off\nInclude {_SETUP}\nInclude {_RULES}/*.conf\n"
    )
    servers = "\n".join(f"    server 127.0.0.1:{upstream};" for upstream in upstreams)
    path = folder / "modsecurity.conf"
    path.write_text(_CONFIGURATION.format(module=_MODULE, folder=folder, port=port, servers=servers))
    return ["nginx", "-e", "stderr", "-c", str(path), "-p", str(folder)]
