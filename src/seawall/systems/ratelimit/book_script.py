"""The one transition by which operators' changes are made: the record and the version, together or not at all."""

from collections.abc import Sequence

from seawall.core.errors import StateError
from seawall.state.limits import MAX_INTEGER, check_ttl_ms, check_value
from seawall.state.script import Script, ScriptContext, ScriptValue

__all__ = ["ABSENT", "CHANGE", "CONFLICT", "DONE"]

CONFLICT, DONE, ABSENT = 0, 1, 2


def _change(context: ScriptContext, keys: Sequence[str], args: Sequence[ScriptValue]) -> ScriptValue:
    expected, value, ttl_ms = args
    current = context.get(keys[0])
    if current is not None and not (len(current) <= 16 and current.isdigit()):
        raise StateError(f"the version at {keys[0]!r} is no number")
    version = int(current or 0)
    if version >= MAX_INTEGER:
        raise StateError(f"the version at {keys[0]!r} has no successor")
    if expected is not None and expected != version:
        return [CONFLICT, version]
    changed = value is not None
    if value is None:
        changed = context.delete(keys[1])
    else:
        check_value(keys[1], value)
        check_ttl_ms(keys[1], ttl_ms)
        context.put(keys[1], value, ttl_ms)  # type: ignore[arg-type]  # the checks raise on anything else
    for key in keys[2:]:
        changed = context.delete(key) or changed
    if not changed:
        return [ABSENT, version]
    context.put(keys[0], b"%d" % (version + 1))
    return [DONE, version + 1]


CHANGE = Script(
    "ratelimit-change",
    _change,
    """
    local current = get(KEYS[1])
    if current and (#current > 16 or not string.match(current, '^%d+$')) then error('the version is no number') end
    local version = tonumber(current or '0')
    if version >= 9007199254740991 then error('the version has no successor') end
    if ARGV[1] ~= nil and ARGV[1] ~= version then return {0, version} end
    local changed = ARGV[2] ~= nil
    if changed then put(KEYS[2], ARGV[2], ARGV[3]) else changed = delete(KEYS[2]) end
    for i = 3, #KEYS do
      if delete(KEYS[i]) then changed = true end
    end
    if not changed then return {2, version} end
    put(KEYS[1], string.format('%.0f', version + 1))
    return {1, version + 1}
    """,
)
"""When the version at KEYS[1] is ARGV[1] (None: whatever it is), put ARGV[2] at KEYS[2] for ARGV[3] ms and raise it.

ARGV[2] None deletes; what is at further keys is deleted in any case. Gives (outcome, version): `CONFLICT`, `DONE`, or
`ABSENT` when there was nothing to delete.
"""
