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

-- A style outlives the job that has learned it. One that was deleted meanwhile is not brought back.
local function keep_style()
  local spec, made = cjson.decode((fields(id, 'spec'))), cjson.decode(result)
  local style = spec.task == 'style' and PREFIX .. 'style:' .. spec.options.style_id
  if style and redis.call('EXISTS', style) == 1 then
    redis.call('HSET', style, 'key', made.path, 'sha256', made.sha256, 'bytes', made.bytes)
  end
end

if state == 'completed' then
  keep_style()
  local started, steps, cost, shape, model = fields(id, 'started_ms', 'steps_total', 'cost', 'shape', 'model')
  local seconds = math.max(now_ms() - tonumber(started), 1) / 1000
  learn(shape, seconds / math.max(tonumber(steps), 1))
  learn(model, math.max(share_of_device_ms(id), 1) / 1000 / math.max(tonumber(cost), 1e-9))
end
finish(id, state, result, failure)
return 'done'
