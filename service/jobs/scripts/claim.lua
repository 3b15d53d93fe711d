-- A worker that popped an attempt asks for the job. Only the attempt that comes next of a queued job is given, and only
-- from the queue of its model. What RQ carried is used up either way.
-- ARGV: id, attempt, worker, lease ms, the queue that it was popped from, or '' for the job's own
-- Returns: the record as a flat list, or an empty list when there is nothing to run.
local id, attempt, worker, lease, popped_from = unpack(ARGV)
local name = attempt_name(id, tonumber(attempt))
local state, last, owner, queue = fields(id, 'state', 'attempt', 'worker', 'queue')
if popped_from == '' then popped_from = queue or '' end
redis.call('LREM', rq_popped(popped_from), 0, name)
if queue and queue ~= popped_from then return {} end
redis.call('DEL', rq_job(name))
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
