-- One pass of a reaper. Any number of them may run; each pass is one step.
-- Expired leases: the job is queued again with backoff, or failed. Delayed jobs that are due: dispatched.
-- Jobs whose deadline has passed: cancelled.
-- After a gap in which no reaper passed (Redis or the gateways were away), leases are left alone for `quiet` ms,
-- so that workers which lived through it can beat first.
-- ARGV: gap ms, quiet ms, limit, max attempts, error JSON, backoff seconds...
-- Returns: number requeued or failed, number dispatched
local gap, quiet, limit, max_attempts, failure = unpack(ARGV)
local backoff = {}
for i = 6, #ARGV do backoff[#backoff + 1] = tonumber(ARGV[i]) end
local now, reaper = now_ms(), PREFIX .. 'reaper'
local seen, quiet_until = unpack(redis.call('HMGET', reaper, 'seen_ms', 'quiet_until_ms'))
if not seen or now - tonumber(seen) > tonumber(gap) then
  quiet_until = now + tonumber(quiet)
  redis.call('HSET', reaper, 'quiet_until_ms', text_ms(quiet_until))
end
redis.call('HSET', reaper, 'seen_ms', text_ms(now))

local expired = {}
if now >= tonumber(quiet_until) then
  expired = redis.call('ZRANGEBYSCORE', LEASES, 0, text_ms(now), 'LIMIT', 0, limit)
end
for _, id in ipairs(expired) do
  if (fields(id, 'state')) == 'in_progress' then
    fail_attempt(id, failure, tonumber(max_attempts), backoff)
  else
    redis.call('ZREM', LEASES, id)
  end
end

local due = redis.call('ZRANGEBYSCORE', DELAYED, 0, text_ms(now), 'LIMIT', 0, limit)
for _, id in ipairs(due) do
  redis.call('ZREM', DELAYED, id)
  if (fields(id, 'state')) == 'queued' then dispatch(id) end
end

local overdue = redis.call('ZRANGEBYSCORE', DEADLINES, 0, text_ms(now), 'LIMIT', 0, limit)
for _, id in ipairs(overdue) do
  redis.call('ZREM', DEADLINES, id)
  cancel(id)
end
return {#expired, #due}
