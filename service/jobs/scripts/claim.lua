-- A worker that popped an attempt asks for the job. Only the attempt that comes next of a queued job is given, and only
-- from the queue of its model. What RQ carried is used up either way.
-- Where the worker can make several videos at once, jobs like this one come with it, in the order of the queue.
-- ARGV: id, attempt, worker, lease ms, the queue that it was popped from, or '' for the job's own, most jobs
-- Returns: records as flat lists, the job's own first; none when there is nothing to run.
local id, attempt, worker, lease, popped_from, most = unpack(ARGV)
local name = attempt_name(id, tonumber(attempt))
local state, last, owner, queue = fields(id, 'state', 'attempt', 'worker', 'queue')
if popped_from == '' then popped_from = queue or '' end
redis.call('LREM', rq_popped(popped_from), 0, name)
if queue and queue ~= popped_from then return {} end
redis.call('DEL', rq_job(name))
if state == 'in_progress' and last == attempt and owner == worker then  -- a repeat: the first reply was lost
  local records = {}
  for member in string.gmatch((fields(id, 'batch')) or '', '%S+') do
    local its_state, its_owner, its_leader = fields(member, 'state', 'worker', 'batch_of')
    if its_state == 'in_progress' and its_owner == worker and its_leader == name then
      records[#records + 1] = redis.call('HGETALL', job_key(member))
    end
  end
  return records
end
if state ~= 'queued' or tonumber(last) + 1 ~= tonumber(attempt) then return {} end

-- Whether two videos can be denoised as one batch: the same sizes, steps, solver, guidance and style; prompt and seed may
-- differ.
local SAME = {'task', 'model', 'width', 'height', 'num_frames', 'num_inference_steps', 'guidance_scale',
  'guidance_rescale', 'scheduler'}
local NO_OPTIONS = {}

local function style_of(spec)
  local options = type(spec.options) == 'table' and spec.options or NO_OPTIONS
  return options.style or cjson.null, options.style_strength or 1
end

local function alike(one, other)
  for _, field in ipairs(SAME) do
    if one[field] ~= other[field] then return false end
  end
  if cjson.encode(one.guidance_interval or {}) ~= cjson.encode(other.guidance_interval or {}) then return false end
  local style, strength = style_of(one)
  local other_style, other_strength = style_of(other)
  return style == other_style and (style == cjson.null or strength == other_strength)
end

-- Learned weights are an input of one job. What has failed before runs alone: it may have taken others down with it.
local function can_join(spec, failures)
  local learned = type(spec.options) == 'table' and (spec.options.style_weights or cjson.null) ~= cjson.null
  return spec.task == 'text-to-video' and not learned and tonumber(failures or 0) == 0
end

local LOOK_AHEAD = 64

local function batch_with(id, most)
  local batch, text, failures, shape = {id}, fields(id, 'spec', 'failures', 'shape')
  if most < 2 then return batch end
  local spec = cjson.decode(text)
  if not can_join(spec, failures) then return batch end
  for _, other in ipairs(redis.call('ZRANGE', waiting_key(queue), 0, LOOK_AHEAD - 1)) do
    if #batch == most then break end
    local its_state, its_text, its_failures, its_shape = fields(other, 'state', 'spec', 'failures', 'shape')
    if other ~= id and its_state == 'queued' and its_shape == shape then
      local its_spec = cjson.decode(its_text)
      if can_join(its_spec, its_failures) and alike(spec, its_spec) then batch[#batch + 1] = other end
    end
  end
  return batch
end

local now, batch, records = now_ms(), batch_with(id, tonumber(most)), {}
advance_clock(id)  -- of those that come along the turn has not come: the clock stays before it
for _, member in ipairs(batch) do
  undispatch(member)
  leave_queue(member)
  redis.call('HINCRBY', job_key(member), 'attempt', 1)
  redis.call('HSET', job_key(member), 'state', 'in_progress', 'worker', worker, 'started_ms', text_ms(now),
    'progress', 0, 'step', 0, 'stage', 'start', 'batch', table.concat(batch, ' '), 'batch_of', name,
    'batch_size', #batch)
  redis.call('HDEL', job_key(member), 'missing_ms')
  redis.call('ZADD', LEASES, text_ms(now + tonumber(lease)), member)
  emit(member, 'state')
  records[#records + 1] = redis.call('HGETALL', job_key(member))
end
return records
