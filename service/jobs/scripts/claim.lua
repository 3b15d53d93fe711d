-- A worker that popped an attempt asks for the job. Only the attempt that comes next of a queued job is given.
-- What RQ carried is used up either way.
-- ARGV: id, attempt, queue, worker, lease ms
-- Returns: the record as a flat list, or an empty list when there is nothing to run.
local id, attempt, queue, worker, lease = unpack(ARGV)
local name = attempt_name(id, tonumber(attempt))
redis.call('LREM', rq_popped(queue), 0, name)
redis.call('DEL', rq_job(name))
local state, last, owner = fields(id, 'state', 'attempt', 'worker')
if state == 'in_progress' and last == attempt and owner == worker then  -- a repeat: the first reply was lost
  return redis.call('HGETALL', job_key(id))
end
if state ~= 'queued' or tonumber(last) + 1 ~= tonumber(attempt) then return {} end

local now = now_ms()
advance_clock(id)
leave_queue(id)
redis.call('LREM', rq_list(queue), 0, name)
redis.call('HSET', job_key(id), 'state', 'in_progress', 'attempt', attempt, 'worker', worker, 'started_ms', text_ms(now),
  'progress', 0, 'step', 0, 'stage', 'start')
redis.call('HDEL', job_key(id), 'missing_ms')
redis.call('ZADD', LEASES, text_ms(now + tonumber(lease)), id)
emit(id, 'state')
return redis.call('HGETALL', job_key(id))
