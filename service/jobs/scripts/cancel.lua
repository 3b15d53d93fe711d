-- Cancels a queued job at once; flags a running one, whose worker reads the flag with its next beat.
-- ARGV: id
-- Returns: 'missing' | 'terminal' | 'cancelled' | 'flagged'
local id = ARGV[1]
local state = (fields(id, 'state'))
if not state then return 'missing' end
if state == 'queued' then
  undispatch(id)
  give_turn_back(id)
  redis.call('HSET', job_key(id), 'cancel_requested', '1')
  finish(id, 'cancelled', '', CANCELLED)
  return 'cancelled'
end
if state == 'in_progress' then
  redis.call('HSET', job_key(id), 'cancel_requested', '1')
  return 'flagged'
end
return 'terminal'
