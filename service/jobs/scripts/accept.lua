-- Accepts a job: idempotency key, quotas, queue bound, record, place in the queue, event and RQ job in one step.
-- ARGV: id, spec, queue, model, shape, cost, steps, retention s, max queued, idempotency key or '', fingerprint,
--       worker TTL ms, owner, account or '', weight, priority, requests per minute or '', cost per hour or '',
--       active jobs or '', request id, traceparent, how old (ms) the key's job may be or '', life of the job in ms or ''
-- Returns: 'accepted' standing limits | 'replayed' view | 'conflict' id | 'full' length | 'no room' ''
--          | 'quota' name wait ms or '' limits
--          limits: flat list of name, limit, remaining, ms until all of it is there again
local id, spec, queue, model, shape, cost, steps, retention, max_queued, idempotency, fingerprint, worker_ttl,
  owner, account, weight, priority, requests_quota, cost_quota, jobs_quota, request_id, traceparent,
  memory, life = unpack(ARGV)
if idempotency ~= '' and memory == '0' then
  redis.call('DEL', idempotency)  -- a new request; if it is refused, its repeat does not stand for an older one
elseif idempotency ~= '' then
  local known, known_print = unpack(redis.call('HMGET', idempotency, 'job', 'fingerprint'))
  local created = known and (fields(known, 'created_ms'))
  if created and (memory == '' or now_ms() - tonumber(created) < tonumber(memory)) then
    if known_print ~= fingerprint then return {'conflict', known} end
    return {'replayed', view(known, tonumber(worker_ttl))}
  end
end

local now = now_ms()

-- A bucket that holds `quota` and refills in `period` ms. What asks for more than that passes when the bucket is full.
-- Generic cell rate algorithm: `due` is when the bucket will be full again.
-- Returns: ms to wait, the limit before and after it is drawn from, and the new `due`
local function bucket(name, quota, period, amount)
  local per_unit = period / quota
  local due = math.max(now, tonumber(redis.call('GET', bucket_key(account, name)) or 0))
  local function limit(at)
    return {name, tostring(quota), tostring(math.max(0, period - (at - now)) / per_unit), text_ms(at - now)}
  end
  local drawn = due + amount * per_unit
  return due + math.min(amount, quota) * per_unit - period - now, limit(due), limit(drawn), drawn
end

local quotas = {}  -- of {name, ms to wait, limit before, limit after, new due time}
if account ~= '' then
  if requests_quota ~= '' then
    quotas[#quotas + 1] = {'requests', bucket('requests', tonumber(requests_quota), 60 * 1000, 1)}
  end
  if cost_quota ~= '' then
    quotas[#quotas + 1] = {'cost', bucket('cost', tonumber(cost_quota), HOUR, tonumber(cost))}
  end
  if jobs_quota ~= '' then
    local room = tonumber(jobs_quota) - redis.call('SCARD', active_key(account))
    local function limit(left) return {'jobs', jobs_quota, tostring(math.max(left, 0)), '0'} end
    quotas[#quotas + 1] = {'jobs', room > 0 and 0 or math.huge, limit(room), limit(room - 1)}
  end
end
local function limits(which)
  local flat = {}
  for _, quota in ipairs(quotas) do
    for _, part in ipairs(quota[which]) do flat[#flat + 1] = part end
  end
  return flat
end
for _, quota in ipairs(quotas) do
  local name, wait = quota[1], quota[2]
  if wait > 1 then  -- ms: less is rounding
    return {'quota', name, wait == math.huge and '' or text_ms(math.ceil(wait)), limits(3)}
  end
end

if redis.call('EXISTS', PREFIX .. 'full') == 1 then return {'no room', ''} end
local length = redis.call('ZCARD', waiting_key(queue))
if length >= tonumber(max_queued) then return {'full', length} end

for _, quota in ipairs(quotas) do
  local name, due = quota[1], quota[5]
  if due then redis.call('SET', bucket_key(account, name), text_ms(due), 'PX', text_ms(math.ceil(due - now) + 1)) end
end
local turn, spent = take_turn(queue, account, priority, tonumber(cost), tonumber(weight))
redis.call('HSET', job_key(id), 'id', id, 'spec', spec, 'queue', queue, 'model', model,
  'shape', model .. ' ' .. shape, 'cost', cost, 'state', 'queued', 'attempt', 0, 'failures', 0, 'progress', 0,
  'stage', '', 'step', 0, 'steps_total', steps, 'retention', retention, 'created_ms', text_ms(now),
  'owner', owner, 'account', account, 'priority', priority, 'turn', turn, 'spent', spent,
  'request_id', request_id, 'traceparent', traceparent)
if idempotency ~= '' then
  redis.call('HSET', job_key(id), 'idempotency', idempotency)
  redis.call('DEL', idempotency)
  redis.call('HSET', idempotency, 'job', id, 'fingerprint', fingerprint)
end
redis.call('ZADD', JOBS, text_ms(now), id)
if owner ~= '' then redis.call('ZADD', owned_key(owner), text_ms(now), id) end
if account ~= '' then redis.call('SADD', active_key(account), id) end
if life ~= '' then redis.call('ZADD', DEADLINES, text_ms(now + tonumber(life)), id) end
redis.call('SADD', QUEUES, queue)
enter_queue(id)
dispatch(id)
emit(id, 'state')
count('accepted', 1)
return {'accepted', standing(id, queue, model .. ' ' .. shape, model, now, tonumber(worker_ttl)), limits(4)}
