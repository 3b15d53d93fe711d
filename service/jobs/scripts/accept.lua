-- Accepts a job: idempotency key, queue bound, record, event and RQ job in one step.
-- ARGV: id, spec, queue, model, shape, cost, steps, retention s, max queued, idempotency key or '', fingerprint,
--       worker TTL ms
-- Returns: 'accepted' view | 'replayed' view | 'conflict' id | 'full' length
local id, spec, queue, model, shape, cost, steps, retention, max_queued, idempotency, fingerprint, worker_ttl =
  unpack(ARGV)
if idempotency ~= '' then
  local known, known_print = unpack(redis.call('HMGET', idempotency, 'job', 'fingerprint'))
  if known and redis.call('EXISTS', job_key(known)) == 1 then
    if known_print ~= fingerprint then return {'conflict', known} end
    return {'replayed', view(known, tonumber(worker_ttl))}
  end
end
local length = redis.call('ZCARD', waiting_key(queue))
if length >= tonumber(max_queued) then return {'full', length} end

local now = now_ms()
redis.call('HSET', job_key(id), 'id', id, 'spec', spec, 'queue', queue, 'model', model,
  'shape', model .. ' ' .. shape, 'cost', cost, 'state', 'queued', 'attempt', 0, 'failures', 0, 'progress', 0, 'stage', '', 'step', 0, 'steps_total', steps, 'retention', retention,
  'created_ms', text_ms(now), 'sequence', redis.call('INCR', PREFIX .. 'sequence'))
if idempotency ~= '' then
  redis.call('HSET', job_key(id), 'idempotency', idempotency)
  redis.call('DEL', idempotency)
  redis.call('HSET', idempotency, 'job', id, 'fingerprint', fingerprint)
end
redis.call('ZADD', JOBS, text_ms(now), id)
enter_queue(id)
dispatch(id, false)
emit(id, 'state')
return {'accepted', view(id, tonumber(worker_ttl))}
