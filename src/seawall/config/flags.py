"""What the flags of `seawall serve` set, as the command-line layer that `load` takes."""

from collections.abc import Sequence
from typing import Any

__all__ = ["DEFAULT_POOL", "serve_overrides"]

DEFAULT_POOL = "default"


def serve_overrides(
    *,
    upstream: Sequence[str] = (),
    listen: str | None = None,
    admin: str | None = None,
    workers: int | None = None,
    strategy: str | None = None,
    state: str | None = None,
) -> dict[str, object]:
    """Return the tree that the flags stand for; a flag that is not given sets nothing.

    Args:
        upstream: urls that become the instances of the pool `default`, in place of those that a file lists there; its
            other settings stay as they are.
        listen: `gateway.listen`.
        admin: `admin.listen`.
        workers: `gateway.workers`.
        strategy: the strategy of every pool, whatever the environment and the file say of one.
        state: `state.url`.
    """
    tree: dict[str, Any] = {}

    def put(section: str, key: str, value: object) -> None:
        tree.setdefault(section, {})[key] = value

    if listen is not None:
        put("gateway", "listen", listen)
    if workers is not None:
        put("gateway", "workers", workers)
    if admin is not None:
        put("admin", "listen", admin)
    if state is not None:
        put("state", "url", state)
    if strategy is not None:
        put("balancing", "strategy", strategy)
    if upstream:
        put("balancing", "pools", {DEFAULT_POOL: {"instances": [{"url": url} for url in upstream], "dns": []}})
    return tree
