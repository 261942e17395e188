"""Seawall as the gateway: one worker, active health checks, outlier ejection, metrics and retries on, as by default.

Threat detection is off, because the other gateways do not look into requests either; what it costs is measured by
`threats/speed.py`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from peers.process import free_port

__all__ = ["configure"]

_CONFIGURATION = """
[gateway]
listen = "127.0.0.1:{port}"
workers = 1

[admin]
listen = "127.0.0.1:{admin}"

[state]
url = "memory://"

[balancing]
strategy = "{strategy}"

[balancing.pools.default]
instances = {instances}
health = {{ kind = "http", path = "/health", interval_ms = 5000 }}

[threats]
enabled = false
"""


def configure(port: int, upstreams: Sequence[int], folder: Path, *, strategy: str) -> list[str]:
    """Write the configuration and return the command that runs the gateway of this working tree."""
    path = folder / "seawall.toml"
    instances = json.dumps([f"http://127.0.0.1:{upstream}" for upstream in upstreams])
    path.write_text(_CONFIGURATION.format(port=port, admin=free_port(), strategy=strategy, instances=instances))
    return [str(Path(sys.executable).parent / "seawall"), "serve", "-c", str(path)]
