"""The Lua around every script on Redis: it does there what `Transition` does for the other backends.

Layout under the prefix `P` (for example `seawall:`):

    P k:<key>       a value, with Redis' own expiry, so that it goes away even when no Seawall runs
    P index         sorted set of every key, all scores 0: a scan is a range in byte order, whatever else there is
    P expiry        sorted set of the keys that expire, scored by when (ms since the epoch): finds what Redis dropped
    P c<db>:<key>   channel of a key's changes: `=` and the value, or `-` when it went away (channels span databases)
"""

from collections.abc import Sequence

from seawall.state.limits import MAX_INTEGER, MAX_TTL_MS, MAX_VALUE_BYTES
from seawall.state.script import ScriptValue

__all__ = ["REAP_BODY", "SCAN_BODY", "channel_prefix", "encode_arguments", "key_prefix", "wrap"]

_PRELUDE = """
local BASE, INDEX, EXPIRY, CHANNEL = '%(base)s', '%(index)s', '%(expiry)s', '%(channel)s'
local MAX_VALUE, MAX_TTL, MAX_INTEGER = %(max_value)d, %(max_ttl)d, %(max_integer)d
local declared, names = {}, {}
for i = 1, #KEYS do
  names[i] = string.sub(KEYS[i], #BASE + 1)
  declared[names[i]] = KEYS[i]
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local touched, pending = {}, {}

local function place(key)
  return declared[key] or error('a script touched a key that is not among its keys')
end

local function now_us() return now end

local function get(key)
  local at, write = place(key), pending[key]
  if write then return write.value end
  return redis.call('GET', at) or nil
end

local function record(key, write)
  if not pending[key] then touched[#touched + 1] = key end
  pending[key] = write
end

local function put(key, value, ttl)
  place(key)
  if type(value) ~= 'string' then error('a value must be bytes') end
  if #value > MAX_VALUE then error('a value is larger than 1 MiB') end
  if ttl ~= nil and (type(ttl) ~= 'number' or ttl < 1 or ttl > MAX_TTL or ttl ~= math.floor(ttl)) then
    error('a time to live is not a whole number of milliseconds within 1 and 100 years')
  end
  record(key, {value = value, ttl = ttl})
end

local function delete(key)
  if get(key) == nil then return false end
  record(key, {})
  return true
end

local function check(value)
  local kind = type(value)
  if kind == 'number' then
    if value ~= math.floor(value) or math.abs(value) > MAX_INTEGER then error('a result is not a 53 bit integer') end
  elseif kind == 'table' then
    for _, item in ipairs(value) do check(item) end
  elseif kind == 'boolean' and value then
    error('a result is true, use 1')
  end
end

local function announce_gone(key)
  redis.call('ZREM', INDEX, key)
  redis.call('ZREM', EXPIRY, key)
  redis.call('PUBLISH', CHANNEL .. key, '-')
end

local function reap(limit)
  local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', string.format('%%.0f', now_ms), 'LIMIT', 0, limit)
  for _, key in ipairs(due) do
    local left = redis.call('PTTL', BASE .. key)
    if left == -2 then
      announce_gone(key)
    elseif left == -1 then
      redis.call('ZREM', EXPIRY, key)
    else
      redis.call('ZADD', EXPIRY, string.format('%%.0f', now_ms + left), key)
    end
  end
  return #due
end

local function apply()
  for _, key in ipairs(touched) do
    local at, write = declared[key], pending[key]
    if write.value then
      if write.ttl then
        redis.call('SET', at, write.value, 'PX', string.format('%%.0f', write.ttl))
        redis.call('ZADD', EXPIRY, string.format('%%.0f', now_ms + write.ttl), key)
        reap(4)
      else
        redis.call('SET', at, write.value)
        redis.call('ZREM', EXPIRY, key)
      end
      redis.call('ZADD', INDEX, 0, key)
      redis.call('PUBLISH', CHANNEL .. key, '=' .. write.value)
    elseif redis.call('DEL', at) == 1 then
      announce_gone(key)
    end
  end
end

local function body(KEYS, ARGV)
%(body)s
end

local cursor = 0
local function decode()
  cursor = cursor + 1
  local word = ARGV[cursor]
  local kind, rest = string.sub(word, 1, 1), string.sub(word, 2)
  if kind == 'b' then return rest end
  if kind == 'i' then return tonumber(rest) end
  if kind == 'n' then return nil end
  local list = {}
  for i = 1, tonumber(rest) do list[i] = decode() end
  return list
end

local result = body(names, decode())
check(result)
apply()
return result
"""

REAP_BODY = "return reap(ARGV[1])"
"""Announce up to ARGV[1] keys that have expired; gives how many were due."""

SCAN_BODY = """
  reap(16)
  local page = redis.call('ZRANGEBYLEX', INDEX, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
  local found, size = {#page < ARGV[3] and 1 or 0, false}, 0
  for _, key in ipairs(page) do
    local value = redis.call('GET', BASE .. key)
    found[2] = key
    if value then
      found[#found + 1] = key
      found[#found + 1] = value
      size = size + #value
      if size >= ARGV[4] then
        if key ~= page[#page] then found[1] = 0 end
        break
      end
    end
  end
  return found
"""
"""Read one page of the index between ARGV[1] and ARGV[2], at most ARGV[3] keys and little more than ARGV[4] bytes.

Gives 1 when it is the last page else 0, the last key looked at or None, then keys and values in turn.
"""


def key_prefix(prefix: str) -> str:
    """Return what stands before a key in Redis."""
    return f"{prefix}k:"


def channel_prefix(prefix: str, database: int) -> str:
    """Return what stands before a key in the name of its channel."""
    return f"{prefix}c{database}:"


def encode_arguments(args: Sequence[ScriptValue]) -> list[bytes]:
    """Return the arguments as Redis takes them: flat, each with its type first.

    `b<bytes>`, `i<decimal>`, `n` for None, and `l<length>` before the items of a list.
    """
    encoded = [b"l%d" % len(args)]
    for arg in args:
        if arg is None:
            encoded.append(b"n")
        elif isinstance(arg, bytes):
            encoded.append(b"b" + arg)
        elif isinstance(arg, int):
            encoded.append(b"i%d" % arg)
        else:
            encoded.extend(encode_arguments(arg))
    return encoded


def wrap(body: str, *, prefix: str, database: int) -> str:
    """Return the complete Lua of a script; `prefix` holds no quote, backslash or control character."""
    return _PRELUDE % {
        "base": key_prefix(prefix),
        "index": f"{prefix}index",
        "expiry": f"{prefix}expiry",
        "channel": channel_prefix(prefix, database),
        "max_value": MAX_VALUE_BYTES,
        "max_ttl": MAX_TTL_MS,
        "max_integer": MAX_INTEGER,
        "body": body,
    }
