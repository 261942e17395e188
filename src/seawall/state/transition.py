"""Run a script's Python form over an overlay, so that a script that fails has written nothing."""

from collections.abc import Callable, Sequence

import msgspec

from seawall.core.errors import StateError
from seawall.state.limits import check_key, check_script_value, check_ttl_ms, check_value
from seawall.state.script import Script, ScriptValue

__all__ = ["Transition", "Write", "check_call", "run_transition"]


class Write(msgspec.Struct, frozen=True):
    """What a script left a key as; `value` None means that it deleted it."""

    value: bytes | None
    ttl_ms: int | None = None


class Transition:
    """The context of one run: reads go through to the backend, writes are kept until the script has returned.

    Args:
        keys: the keys that the script may touch.
        now_us: microseconds since the Unix epoch on the store's clock.
        read: the backend's live value of a key; must not change while the script runs.

    The Lua prelude of the Redis backend does the same steps in the same order.
    """

    __slots__ = ("_declared", "_read", "now_us", "writes")

    def __init__(self, keys: Sequence[str], now_us: int, read: Callable[[str], bytes | None]) -> None:
        self._declared = frozenset(keys)
        self._read = read
        self.now_us = now_us
        self.writes: dict[str, Write] = {}

    def get(self, key: str) -> bytes | None:
        """Return the value as this script left it, or as it is in the store."""
        self._check_declared(key)
        write = self.writes.get(key)
        return self._read(key) if write is None else write.value

    def put(self, key: str, value: bytes, ttl_ms: int | None = None) -> None:
        """Set a key; without `ttl_ms` it stays for good, whatever it had before."""
        self._check_declared(key)
        check_value(key, value)
        check_ttl_ms(key, ttl_ms)
        self.writes[key] = Write(value, ttl_ms)

    def delete(self, key: str) -> bool:
        """Remove a key; return whether it was there."""
        if self.get(key) is None:
            return False
        self.writes[key] = Write(None)
        return True

    def _check_declared(self, key: str) -> None:
        if key not in self._declared:
            raise StateError(f"a script touched {key!r}, which is not among its keys")


def check_call(
    script: Script, keys: Sequence[str], args: Sequence[ScriptValue]
) -> tuple[tuple[str, ...], tuple[ScriptValue, ...]]:
    """Return keys and arguments as every backend takes them; raise `StateError` when one of them is out of bounds."""
    for key in keys:
        check_key(key)
    return tuple(keys), tuple(check_script_value(f"an argument of script {script.name!r}", arg) for arg in args)


def run_transition(
    script: Script, transition: Transition, keys: Sequence[str], args: Sequence[ScriptValue]
) -> ScriptValue:
    """Run the Python form; on return `transition.writes` holds what the backend must apply, in order of first touch."""
    try:
        result = script.transition(transition, keys, args)
    except StateError:
        raise
    except Exception as error:
        # Redis reports whatever goes wrong within Lua as one kind of error; the Python form must look the same.
        raise StateError(f"script {script.name!r} failed: {error!r}") from error
    return check_script_value(f"the result of script {script.name!r}", result)
