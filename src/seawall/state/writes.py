"""Plain writes as scripts, so that every backend has one path by which anything changes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from seawall.state.limits import check_value, ttl_to_ms
from seawall.state.script import Script, ScriptValue
from seawall.state.scripts import DELETE, PUT

__all__ = ["ScriptedWrites"]


class ScriptedWrites(ABC):
    """The writes of a store that can run scripts."""

    @abstractmethod
    async def run(self, script: Script, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
        """Run a named atomic transition over the given keys."""

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Set a value; `ttl` in seconds, None keeps it for good."""
        check_value(key, value)
        await self.run(PUT, (key,), (value, ttl_to_ms(key, ttl)))

    async def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        return await self.run(DELETE, (key,), ()) == 1
