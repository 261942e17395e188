"""The transitions that every part may use, and the calls that make them."""

import re
from collections.abc import Sequence

from seawall.core.errors import StateError
from seawall.state.limits import MAX_INTEGER, check_ttl_ms, check_value, ttl_to_ms
from seawall.state.script import Script, ScriptContext, ScriptValue
from seawall.state.store import StateStore

__all__ = [
    "COMPARE_AND_SET",
    "DELETE",
    "INCREMENT",
    "PUT",
    "PUT_IF_ABSENT",
    "compare_and_set",
    "increment",
    "put_if_absent",
]

_INTEGER = re.compile(rb"-?[0-9]{1,16}")


def _checked(key: str, value: ScriptValue, ttl_ms: ScriptValue) -> tuple[bytes, int | None]:
    check_value(key, value)
    check_ttl_ms(key, ttl_ms)
    return value, ttl_ms  # type: ignore[return-value]  # the checks raise on anything else


def _put(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    context.put(keys[0], *_checked(keys[0], args[0], args[1]))
    return 1


def _delete(context: ScriptContext, keys: Sequence[str], _args: Sequence[ScriptValue]) -> ScriptValue:
    return int(context.delete(keys[0]))


def _compare_and_set(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    expected, new, ttl_ms = args
    if context.get(keys[0]) != expected:
        return 0
    if new is None:
        context.delete(keys[0])
    else:
        context.put(keys[0], *_checked(keys[0], new, ttl_ms))
    return 1


def _put_if_absent(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    if context.get(keys[0]) is not None:
        return 0
    context.put(keys[0], *_checked(keys[0], args[0], args[1]))
    return 1


def _increment(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    amount, ttl_ms = args
    if not isinstance(amount, int):
        raise StateError(f"cannot increment {keys[0]!r} by {amount!r}, which is not an integer")
    current = context.get(keys[0])
    if current is not None and _INTEGER.fullmatch(current) is None:
        raise StateError(f"cannot increment {keys[0]!r}, its value is not an integer")
    number = int(current or 0)
    total = number + amount
    if max(abs(number), abs(total)) > MAX_INTEGER:
        raise StateError(f"cannot increment {keys[0]!r} beyond 53 bits")
    context.put(keys[0], *_checked(keys[0], b"%d" % total, ttl_ms))
    return total


PUT = Script("put", _put, "put(KEYS[1], ARGV[1], ARGV[2]) return 1")
"""Set KEYS[1] to ARGV[1], for ARGV[2] ms or, when None, for good; gives 1."""

DELETE = Script("delete", _delete, "return delete(KEYS[1]) and 1 or 0")
"""Remove KEYS[1]; gives 1 when it was there, else 0."""

COMPARE_AND_SET = Script(
    "compare-and-set",
    _compare_and_set,
    """
    if get(KEYS[1]) ~= ARGV[1] then return 0 end
    if ARGV[2] == nil then delete(KEYS[1]) else put(KEYS[1], ARGV[2], ARGV[3]) end
    return 1
    """,
)
"""When KEYS[1] is ARGV[1] (None: absent), set it to ARGV[2] (None: delete) for ARGV[3] ms (None: for good).

Gives 1 when it was, else 0.
"""

PUT_IF_ABSENT = Script(
    "put-if-absent",
    _put_if_absent,
    """
    if get(KEYS[1]) ~= nil then return 0 end
    put(KEYS[1], ARGV[1], ARGV[2])
    return 1
    """,
)
"""Set KEYS[1] to ARGV[1] for ARGV[2] ms (None: for good) when it is absent; gives 1, else 0."""

INCREMENT = Script(
    "increment",
    _increment,
    """
    if type(ARGV[1]) ~= 'number' then error('the amount is not an integer') end
    local current = get(KEYS[1])
    if current and (#current > 17 or not string.match(current, '^-?%d+$')) then error('the value is not an integer') end
    if current and #string.gsub(current, '-', '') > 16 then error('the value is not an integer') end
    local number = tonumber(current or '0')
    local total = number + ARGV[1]
    if math.max(math.abs(number), math.abs(total)) > 9007199254740991 then error('beyond 53 bits') end
    put(KEYS[1], string.format('%.0f', total), ARGV[2])
    return total
    """,
)
"""Add ARGV[1] to the decimal integer at KEYS[1] (absent: 0), keep it for ARGV[2] ms from now (None: for good).

Gives the sum.
"""


async def compare_and_set(
    store: StateStore, key: str, expected: bytes | None, new: bytes | None, *, ttl: float | None = None
) -> bool:
    """Replace a value when it is what the caller last saw; return whether it was.

    None stands for absent, in `expected` and in `new`; `ttl` is the new value's life in seconds, None for good.
    """
    return await store.run(COMPARE_AND_SET, (key,), (expected, new, ttl_to_ms(key, ttl))) == 1


async def increment(store: StateStore, key: str, amount: int = 1, *, ttl: float | None = None) -> int:
    """Add to a counter kept as decimal text, and return the sum; each call renews its life of `ttl` seconds.

    Raises:
        StateError: the value is no integer, or the sum leaves 53 bits.
    """
    total = await store.run(INCREMENT, (key,), (amount, ttl_to_ms(key, ttl)))
    if not isinstance(total, int):
        raise StateError(f"incrementing {key!r} gave {total!r}, which is not an integer")
    return total


async def put_if_absent(store: StateStore, key: str, value: bytes, *, ttl: float | None = None) -> bool:
    """Set a value unless there is one; return whether it was set. Also a lease, when `ttl` (seconds) is given."""
    return await store.run(PUT_IF_ABSENT, (key,), (value, ttl_to_ms(key, ttl))) == 1
