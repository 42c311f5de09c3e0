-- One bucket in one key: when it is full again, and when that was written, in
-- microseconds of the server's clock.
-- KEYS[1]; ARGV: period (us), burst, count, floor (us), deadline (us, 0: none), keep (ms)
local period, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local floor, deadline, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- The caller waits no longer: its tokens would be lost.
if deadline > 0 and now > deadline then return {0, now, 0} end
local state = redis.call('GET', KEYS[1])
local full_at = now + burst * period -- a key that is missing is an empty bucket
if state then
  local full, seen = string.match(state, '^(%d+) (%d+)$')
  if not full then return redis.error_reply('FOREIGN the key holds something else') end
  full_at, seen = tonumber(full), tonumber(seen)
  -- The clock went back. That earns nothing, and costs nothing.
  if seen > now then full_at = full_at - (seen - now) end
end
full_at = math.max(full_at, now + floor)
local wait = full_at - (burst - 1) * period - now -- of the first token
full_at = full_at + count * period
-- '%.0f': Lua's own conversion keeps 14 digits.
redis.call('SET', KEYS[1], string.format('%.0f %.0f', full_at, now),
  'PX', math.ceil((full_at - now) / 1000) + keep)
return {1, now, wait}
