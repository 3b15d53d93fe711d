-- What waits and runs in some queues, for metrics; nothing is changed.
-- ARGV: worker TTL ms, queue...
-- Returns: for each queue a list of: jobs that wait, ms that the oldest has waited, their cost, how many of them wait for
--          their next attempt, jobs that run, workers with its model warm
local ttl, now = tonumber(ARGV[1]), now_ms()

local function members_by_queue(index)
  local counts = {}
  for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local queue = (fields(id, 'queue'))
    if queue then counts[queue] = (counts[queue] or 0) + 1 end
  end
  return counts
end

local running, delayed, told = members_by_queue(LEASES), members_by_queue(DELAYED), {}
for place = 2, #ARGV do
  local queue = ARGV[place]
  local oldest = redis.call('ZRANGE', since_key(queue), 0, 0, 'WITHSCORES')[2]
  told[#told + 1] = {
    redis.call('ZCARD', waiting_key(queue)), text_ms(oldest and math.max(now - tonumber(oldest), 0) or 0),
    redis.call('GET', cost_key(queue)) or '0', delayed[queue] or 0, running[queue] or 0,
    redis.call('ZCOUNT', workers_key(queue), text_ms(now - ttl), '+inf'),
  }
end
return told
