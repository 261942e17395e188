"""The twin of `seawall.systems.ratelimit.shared` in Lua, for Redis: one call decides all asks of a request.

Numbers travel and are kept as the eight bytes of a double (little-endian, Redis' `struct`), so neither side ever rounds
what the other has computed. Times are seconds since `EPOCH` on the server's own clock: counted from a day close by,
a double tells apart some nanoseconds where it would only tell apart 240 from 1970 on.

    KEYS[i]  the prefix and `place_of(...)`; holds the states' floats, window after window; expires when it is as good
             as none
    ARGV[i]  one byte (0 an ask that does not bind, 1 one that binds, 2 what comes back), one double (the lease, or the
             time of the answer), then per window one byte (its algorithm) and four doubles (limit, window, burst, cost)
    answer   one double (the time), then per ask one byte (allowed) and one double (the lease), and per window one byte
             (allowed) and three doubles (remaining, reset_after, retry_after); nothing for what comes back
"""

from hashlib import sha1

from seawall.systems.ratelimit.shared import LEASED_SHARE
from seawall.systems.ratelimit.shared_bounds import MAX_NUMBER, MIN_LIMIT, MIN_WINDOW
from seawall.systems.ratelimit.verdict import SLACK

__all__ = ["EPOCH", "SHARED_BODY", "SHARED_DIGEST", "SHARED_SCRIPT"]

EPOCH = 1_767_225_600
"""2026-01-01, a midnight, so that fixed windows of a day or less begin where those of Unix time do."""

_MAX_TTL_MS = 10**12

_CLOCK = f"""
local time = redis.call('TIME')
local now = (time[1] - {EPOCH}) + time[2] / 1000000
local spare = 2
"""

_CONSTANTS = f"""
local SLACK, LEAST, MOST, SHARE = {SLACK!r}, {MIN_LIMIT!r}, {MAX_NUMBER!r}, {LEASED_SHARE!r}
local SHORTEST, LONGEST = {MIN_WINDOW!r}, {_MAX_TTL_MS}
"""

_DECISION = """local floor, max, min, fmod, huge = math.floor, math.max, math.min, math.fmod, math.huge
local pack, unpack = struct.pack, struct.unpack
local GCRA, SLIDING, FIXED, PERMITS = 0, 1, 2, 3

-- now // window * window as Python has it
local function aligned(window)
  local rest = fmod(now, window)
  local count = (now - rest) / window
  if rest < 0 then count = count - 1 end
  local whole = floor(count)
  if count - whole > 0.5 then whole = whole + 1 end
  return whole * window
end

-- A state is {a, b, c}: {tat}, {start, count} or {start, current, previous}; nil for a key never seen. A check gives:
-- allowed, state, remaining, reset_after, retry_after

local function gcra(w, state, cost)
  local interval = w.window / max(w.limit, LEAST)
  local tat = state and state[1] or -huge
  local ceiling = now + interval * w.burst
  local base = now
  if not (now > tat) then base = tat end
  if base > ceiling then base = ceiling end
  local after = base + cost * interval
  local excess = after - ceiling
  if excess <= interval * SLACK then
    local left = -excess / interval
    if not (left > 0) then left = 0 end
    return true, {after}, left, after - now, 0
  end
  if cost > w.burst + SLACK then excess = huge end
  return false, {base}, (ceiling - base) / interval, base - now, excess
end

local function slid(w, state)
  if state then
    if now < state[1] then return now, state[2], state[3] end
    local elapsed = now - state[1]
    if elapsed < w.window then return state[1], state[2], state[3] end
    if elapsed < 2 * w.window then return state[1] + w.window, 0, state[2] end
  end
  return aligned(w.window), 0, 0
end

local function spans(current, previous, none)
  if current ~= 0 then return 2 end
  if previous ~= 0 then return 1 end
  return none
end

local function sliding(w, state, cost, limit)
  local start, current, previous = slid(w, state)
  local elapsed = now - start
  local left = limit - (current + previous * (1 - elapsed / w.window))
  if cost <= left + SLACK then
    current = current + cost
    local reset = spans(current, previous, 0) * w.window
    return true, {start, current, previous}, max(left - cost, 0), max(reset - elapsed, 0), 0
  end
  local reset = spans(current, 0, 1) * w.window - elapsed
  local wait
  local room = max(limit - cost, 0)
  if cost > limit + SLACK then
    wait = huge
  elseif current <= room then
    wait = (1 - (room - current) / previous) * w.window - elapsed
  else
    wait = w.window - elapsed + (1 - room / current) * w.window
  end
  return false, {start, current, previous}, max(left, 0), reset, wait
end

local function fixed(w, state, cost, limit)
  local start, count
  if state and now < state[1] then
    start, count = now, state[2]
  elseif state and now - state[1] < w.window then
    start, count = state[1], state[2]
  else
    start, count = aligned(w.window), 0
  end
  local ends = start + w.window - now
  if count + cost <= limit + SLACK then
    count = count + cost
    return true, {start, count}, max(limit - count, 0), count ~= 0 and ends or 0, 0
  end
  return false, {start, count}, max(limit - count, 0), ends, cost <= limit + SLACK and ends or huge
end

local function generation(w, state)
  if not state then return now, 0, 0 end
  if now < state[1] then return now, state[2], state[3] end
  if now - state[1] < w.window then return state[1], state[2], state[3] end
  if now - state[1] < 2 * w.window then return state[1] + w.window, 0, state[2] end
  return now, 0, 0
end

local function permits(w, state, cost, limit)
  local start, current, previous = generation(w, state)
  local left = limit - current - previous
  local allowed = cost <= left + SLACK
  if allowed then
    current = current + cost
    left = left - cost
  end
  local reset = start + spans(current, previous, 0) * w.window - now
  return allowed, {start, current, previous}, max(left, 0), max(reset, 0), cost <= limit + SLACK and 0 or huge
end

local function look(w, state, cost, limit)
  if w.kind == GCRA then return gcra(w, state, cost) end
  if w.kind == SLIDING then return sliding(w, state, cost, limit) end
  if w.kind == FIXED then return fixed(w, state, cost, limit) end
  return permits(w, state, cost, limit)
end

local function check(w, state, cost)
  if w.limit < LEAST and cost ~= 0 then
    local _, kept, _, reset = look(w, state, 0, w.limit)
    return {false, kept, 0, reset, huge}
  end
  return {look(w, state, cost, w.limit)}
end

local function charge(w, state, cost)
  if w.kind == GCRA then
    local interval = w.window / w.limit
    local tat = max(state and state[1] or -huge, now)
    return {min(tat + cost * interval, now + interval * w.burst)}
  end
  local _, after = look(w, state, cost, huge)
  return after
end

local function refund(w, state, at)
  local cost = w.cost
  if w.kind == GCRA then
    local tat = state[1]
    if tat > now then tat = max(tat - cost * (w.window / w.limit), now) end
    return {tat}
  end
  if w.kind == FIXED then
    if at >= state[1] then return {state[1], max(state[2] - cost, 0)} end
    return state
  end
  local start, current, previous = state[1], state[2], state[3]
  if w.kind == PERMITS then
    start, current, previous = generation(w, state)
    if at >= start then previous = max(previous - max(cost - current, 0), 0) end
  end
  if at >= start then
    current = max(current - cost, 0)
  elseif at >= start - w.window then
    previous = max(previous - cost, 0)
  end
  return {start, current, previous}
end

local function windows_of(word, at)
  local windows = {}
  while at <= #word do
    local kind, limit, window, burst, cost
    kind, limit, window, burst, cost, at = unpack('<Bdddd', word, at)
    if not (limit >= 0 and limit <= MOST and burst >= 0 and burst <= MOST and cost >= -MOST
            and (cost <= MOST or cost == huge) and window >= SHORTEST and kind <= PERMITS) then
      error('a window is out of its bounds')
    end
    windows[#windows + 1] = {kind = kind, limit = limit, window = window, burst = burst, cost = cost}
  end
  return windows
end

local SIZES = {[GCRA] = '<d', [SLIDING] = '<ddd', [FIXED] = '<dd', [PERMITS] = '<ddd'}

local function states_of(key, windows)
  local kept = redis.call('GET', key)
  if not kept then return nil end
  local states, at = {}, 1
  for i, w in ipairs(windows) do
    local a, b, c
    if w.kind == GCRA then
      a, at = unpack('<d', kept, at)
    elseif w.kind == FIXED then
      a, b, at = unpack('<dd', kept, at)
    else
      a, b, c, at = unpack('<ddd', kept, at)
    end
    states[i] = {a, b, c}
  end
  return states
end

local function keep(key, windows, verdicts)
  local words, lasts = {}, 0
  for i, w in ipairs(windows) do
    local state = verdicts[i][2]
    words[i] = pack(SIZES[w.kind], state[1], state[2], state[3])
    lasts = max(lasts, verdicts[i][4])
  end
  if lasts > 0 then
    local ttl = min(floor(lasts * 1000) + spare, LONGEST)
    redis.call('SET', key, table.concat(words), 'PX', string.format('%.0f', ttl))
  else
    redis.call('DEL', key)
  end
end

local function all(verdicts)
  for _, verdict in ipairs(verdicts) do
    if not verdict[1] then return false end
  end
  return true
end

local function lease(trial)
  local room = trial.lease
  for i, w in ipairs(trial.windows) do
    if w.cost > 0 then room = min(room, SHARE * trial.verdicts[i][3] / w.cost) end
  end
  local whole = floor(room)
  if whole < 1 then return 0 end
  local after = {}
  for i, w in ipairs(trial.windows) do
    after[i] = check(w, trial.verdicts[i][2], whole * w.cost)
  end
  if not all(after) then return 0 end
  trial.verdicts = after
  return whole
end

local function changed(states, verdicts)
  for i, state in ipairs(states) do
    local after = verdicts[i][2]
    if state[1] ~= after[1] or state[2] ~= after[2] or state[3] ~= after[3] then return true end
  end
  return false
end

local function take_back(key, windows, at)
  local charges, forgets = false, false
  for _, w in ipairs(windows) do
    charges = charges or w.cost < 0
    forgets = forgets or w.cost == huge
  end
  if forgets then
    redis.call('DEL', key)
    return
  end
  local states = states_of(key, windows)
  if not states and not charges then return end
  local verdicts = {}
  for i, w in ipairs(windows) do
    local state = states and states[i]
    if w.limit >= LEAST and w.cost < 0 then
      state = charge(w, state, -w.cost)
    elseif w.limit >= LEAST and state then
      state = refund(w, state, at)
    end
    verdicts[i] = check(w, state, 0)
  end
  keep(key, windows, verdicts)
end

local trials, granted = {}, true
for n, key in ipairs(KEYS) do
  local kind, number, at = unpack('<Bd', ARGV[n])
  local windows = windows_of(ARGV[n], at)
  if kind == 2 then
    take_back(key, windows, number)
  else
    local states, verdicts = states_of(key, windows), {}
    for i, w in ipairs(windows) do verdicts[i] = check(w, states and states[i], w.cost) end
    local allowed = all(verdicts)
    if kind == 1 and not allowed then granted = false end
    trials[#trials + 1] = {key = key, binds = kind == 1, lease = number, windows = windows, states = states,
                           verdicts = verdicts, allowed = allowed}
  end
end

local answer = {pack('<d', now)}
for _, trial in ipairs(trials) do
  local leased, windows = 0, trial.windows
  if trial.allowed and (granted or not trial.binds) then
    if trial.lease > 0 then leased = lease(trial) end
    keep(trial.key, windows, trial.verdicts)
  else
    for i, w in ipairs(windows) do
      if trial.verdicts[i][1] then trial.verdicts[i] = check(w, trial.states and trial.states[i], 0) end
    end
    if trial.states and changed(trial.states, trial.verdicts) then keep(trial.key, windows, trial.verdicts) end
  end
  answer[#answer + 1] = pack('<Bd', trial.allowed and 1 or 0, leased)
  for _, verdict in ipairs(trial.verdicts) do
    answer[#answer + 1] = pack('<Bddd', verdict[1] and 1 or 0, verdict[3], verdict[4], verdict[5])
  end
end
return table.concat(answer)
"""

SHARED_BODY = _CONSTANTS + _DECISION
"""The script after its clock: it finds `now` (seconds) and `spare` (ms that a key outlives its use)."""

SHARED_SCRIPT = _CLOCK + SHARED_BODY
SHARED_DIGEST = sha1(SHARED_SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""What `EVALSHA` calls it by."""
