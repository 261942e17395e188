"""Key paths as people read them: `balancing.pools.web.instances[0].url`."""

import json
import re

from seawall.config.section import Path

__all__ = ["key_path"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key_path(path: Path) -> str:
    """Return a path in TOML's dotted form, keys quoted where TOML wants it, list indexes from 0 in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
        text += f".{key}" if text else key
    return text or "the whole configuration"
