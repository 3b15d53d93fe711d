-- The attempt ends the job: state, result pointer, terminal event and outbox row in one step.
-- A repeat after a lost reply is answered like the first call.
-- ARGV: id, attempt, state, result JSON or '', error JSON or ''
-- Returns: 'done' | 'lost'
local id, attempt, state, result, failure = unpack(ARGV)
if not is_current(id, attempt) then
  local now_state, current = fields(id, 'state', 'attempt')
  return (now_state == state and current == attempt) and 'done' or 'lost'
end

-- Exponentially weighted means: seconds per step of this very shape, seconds per unit of cost for all others.
local function learn(field, seconds)
  local known = redis.call('HGET', SPEED, field)
  if known then seconds = 0.7 * tonumber(known) + 0.3 * seconds end
  redis.call('HSET', SPEED, field, string.format('%.9g', seconds))
end

if state == 'completed' then
  local started, steps, cost, shape, model = fields(id, 'started_ms', 'steps_total', 'cost', 'shape', 'model')
  local seconds = math.max(now_ms() - tonumber(started), 1) / 1000
  learn(shape, seconds / math.max(tonumber(steps), 1))
  learn(model, seconds / math.max(tonumber(cost), 1e-9))
end
finish(id, state, result, failure)
return 'done'
