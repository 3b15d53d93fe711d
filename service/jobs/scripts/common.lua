-- Shared by all scripts: it is put in front of each of them, followed by that script's own text.
-- A job is one hash. These functions are the only ones that change its state, and each keeps the queue, the leases,
-- RQ's lists, the event stream and the outbox in step with it.

local PREFIX, RQ = 'lumiere:', 'rq:'
local JOBS, LEASES, DELAYED = PREFIX .. 'jobs', PREFIX .. 'leases', PREFIX .. 'delayed'
local DEADLINES, QUEUES = PREFIX .. 'deadlines', PREFIX .. 'queues'
local TOTALS = PREFIX .. 'totals'
local OUTBOX, SPEED, BELL = PREFIX .. 'outbox', PREFIX .. 'speed', PREFIX .. 'events'
local FUNCTION = 'workers.tasks.generate_video'
local STREAM_LENGTH, OUTBOX_LENGTH = 256, 100000
local HOUR, DAY = 3600 * 1000, 86400 * 1000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text_ms(ms) return string.format('%.0f', ms) end

local function job_key(id) return PREFIX .. 'job:' .. id end
local function waiting_key(queue) return PREFIX .. 'queue:' .. queue end
local function cost_key(queue) return PREFIX .. 'queue:' .. queue .. ':cost' end
local function since_key(queue) return PREFIX .. 'queue:' .. queue .. ':since' end
local function clocks_key(queue) return PREFIX .. 'queue:' .. queue .. ':clocks' end
local function workers_key(queue) return PREFIX .. 'queue:' .. queue .. ':workers' end
local function turns_key(queue) return PREFIX .. 'queue:' .. queue .. ':turns' end
local function owned_key(owner) return PREFIX .. 'owner:' .. owner .. ':jobs' end
local function active_key(account) return PREFIX .. 'account:' .. account .. ':active' end
local function bucket_key(account, name) return PREFIX .. 'account:' .. account .. ':' .. name end
local function rq_list(queue) return RQ .. 'queue:' .. queue end
local function rq_popped(queue) return RQ .. 'queue:' .. queue .. ':intermediate' end
local function rq_job(name) return RQ .. 'job:' .. name end
local function attempt_name(id, attempt) return id .. '-a' .. string.format('%d', attempt) end

local function fields(id, ...)
  return unpack(redis.call('HMGET', job_key(id), ...))
end

-- Adds an event to the job's stream and rings the bell. `extra` is merged into the data.
local function emit(id, event, extra)
  local state, stage, step, steps, progress, attempt, started =
    fields(id, 'state', 'stage', 'step', 'steps_total', 'progress', 'attempt', 'started_ms')
  local data = {
    id = id, status = state, stage = stage or '', step = tonumber(step or 0), steps = tonumber(steps or 0),
    progress = tonumber(progress or 0), attempt = tonumber(attempt or 0),
    elapsed_seconds = cjson.null, eta_seconds = cjson.null,
  }
  if started then data.elapsed_seconds = (now_ms() - tonumber(started)) / 1000 end
  for key, value in pairs(extra or {}) do data[key] = value end
  local entry = redis.call('XADD', job_key(id) .. ':events', 'MAXLEN', '~', STREAM_LENGTH, '*',
    'event', event, 'data', cjson.encode(data))
  redis.call('PUBLISH', BELL, id)
  return entry
end

-- Pictures are large: the stream holds the latest one, and none once the attempt is over.
local function drop_preview(id)
  local entry = (fields(id, 'preview'))
  if entry then
    redis.call('XDEL', job_key(id) .. ':events', entry)
    redis.call('HDEL', job_key(id), 'preview')
  end
end

local function show_preview(id, extra)
  drop_preview(id)
  redis.call('HSET', job_key(id), 'preview', emit(id, 'preview', extra))
end

-- Whose turn it is: start-time fair queueing (Goyal, Vin, Cheng 1996). Each account has a virtual time up to which its
-- share is spent; a job starts there, or at the queue's clock when the account has been idle. Its cost divided by the
-- account's weight is what it spends. The clock is the start of the job that was claimed last. So an account's thousand
-- jobs lie far behind each other, and another's first one comes next. Each priority has a clock of its own.
local PRIORITY_BAND = {high = -1e12, normal = 0, low = 1e12}
local SMALLEST_COST = 1e-3

local function text_number(number) return string.format('%.17g', number) end

-- Returns: the turn, a score in the queue, and what it spends
local function take_turn(queue, account, priority, cost, weight)
  local spent = math.max(cost, SMALLEST_COST) / weight
  local account_time = priority .. ' ' .. account
  local now = tonumber(redis.call('HGET', clocks_key(queue), priority) or 0)
  local start = tonumber(redis.call('HGET', turns_key(queue), account_time) or '-inf')
  if start <= now then
    start = now + SMALLEST_COST  -- those who come from idleness keep their order among themselves
    redis.call('HSET', clocks_key(queue), priority, text_number(start))
  end
  redis.call('HSET', turns_key(queue), account_time, text_number(start + spent))
  return text_number(PRIORITY_BAND[priority] + start), text_number(spent)
end

-- The account is not charged for a turn that it does not take.
local function give_turn_back(id)
  local queue, account, priority, spent = fields(id, 'queue', 'account', 'priority', 'spent')
  local field = priority .. ' ' .. account
  if redis.call('HEXISTS', turns_key(queue), field) == 1 then
    redis.call('HINCRBYFLOAT', turns_key(queue), field, '-' .. spent)
  end
end

local function advance_clock(id)
  local queue, priority, turn = fields(id, 'queue', 'priority', 'turn')
  local start = tonumber(turn) - PRIORITY_BAND[priority]
  if start > tonumber(redis.call('HGET', clocks_key(queue), priority) or 0) then
    redis.call('HSET', clocks_key(queue), priority, text_number(start))
  end
end

-- Puts a name into RQ's list in front of the first job behind it in the queue, so that the list keeps the queue's order.
local MOST_TRIES = 32

local function insert_in_order(queue, id, name)
  local rank = redis.call('ZRANK', waiting_key(queue), id)
  local behind = redis.call('ZRANGE', waiting_key(queue), rank + 1, rank + MOST_TRIES)
  for _, other in ipairs(behind) do
    local attempt = (fields(other, 'attempt'))
    local pivot = attempt and attempt_name(other, tonumber(attempt) + 1) or ''
    if redis.call('LINSERT', rq_list(queue), 'BEFORE', pivot, name) > 0 then return end
  end
  -- All of those wait for their next attempt to be dispatched, or there are none.
  redis.call(#behind == MOST_TRIES and 'LPUSH' or 'RPUSH', rq_list(queue), name)
end

-- Hands the job's next attempt to RQ. The attempt's name holds its number, so what was handed over before is stale.
local function dispatch(id)
  local queue, attempt = fields(id, 'queue', 'attempt')
  local name = attempt_name(id, tonumber(attempt) + 1)
  redis.call('HSET', rq_job(name), 'data', cjson.encode({FUNCTION, cjson.null, {name}, {}}),
    'origin', queue, 'status', 'queued', 'timeout', '-1', 'description', name)
  redis.call('SADD', RQ .. 'queues', rq_list(queue))
  insert_in_order(queue, id, name)
end

-- Takes back what RQ carries for the attempt that comes next, wherever it is.
local function undispatch(id)
  local queue, attempt = fields(id, 'queue', 'attempt')
  local name = attempt_name(id, tonumber(attempt) + 1)
  redis.call('LREM', rq_list(queue), 0, name)
  redis.call('LREM', rq_popped(queue), 0, name)
  redis.call('DEL', rq_job(name))
end

local function enter_queue(id)
  local queue, turn, cost, created = fields(id, 'queue', 'turn', 'cost', 'created_ms')
  if redis.call('ZADD', waiting_key(queue), 'NX', turn, id) == 1 then
    redis.call('ZADD', since_key(queue), created, id)
    redis.call('INCRBYFLOAT', cost_key(queue), cost)
  end
end

local function leave_queue(id)
  local queue, cost = fields(id, 'queue', 'cost')
  if redis.call('ZREM', waiting_key(queue), id) == 1 then
    redis.call('ZREM', since_key(queue), id)
    if redis.call('ZCARD', waiting_key(queue)) == 0 then
      redis.call('DEL', cost_key(queue), turns_key(queue))  -- the clocks go on: what is handed back is older
    else
      redis.call('INCRBYFLOAT', cost_key(queue), '-' .. cost)
    end
  end
  redis.call('ZREM', DELAYED, id)
end

-- Counters for metrics, since this Redis was set up.
local function count(name, amount)
  redis.call('HINCRBY', TOTALS, name, text_ms(amount))
end

-- The ledger: one hash for each day (UTC), its fields are account|model|what. Times in ms, cost in units.
local LEDGER_DAYS = 400

local function book(id, entries)
  local account, model = fields(id, 'account', 'model')
  local key = PREFIX .. 'usage:' .. string.format('%d', math.floor(now_ms() / DAY))
  for what, amount in pairs(entries) do
    redis.call('HINCRBYFLOAT', key, (account or '') .. '|' .. model .. '|' .. what, text_number(amount))
  end
  redis.call('PEXPIRE', key, text_ms(LEDGER_DAYS * DAY))
end

-- The attempt's share of the time that it has had a worker for: those of a batch have one together.
local function share_of_device_ms(id)
  local started, batch_size = fields(id, 'started_ms', 'batch_size')
  return math.max(now_ms() - tonumber(started), 0) / tonumber(batch_size or 1)
end

-- Books the attempt in progress on its job and in the ledger.
local function book_attempt(id, what)
  local device_ms = math.floor(share_of_device_ms(id) + 0.5)
  redis.call('HINCRBY', job_key(id), 'device_ms', text_ms(device_ms))
  book(id, {[what] = device_ms})
  count('device_ms', device_ms)
end

-- What the end of a job is the end of, for webhooks: a video, or the style that the job learns.
local function subject(id)
  local spec = cjson.decode((fields(id, 'spec')))
  if spec.task == 'style' then return 'style', spec.options.style_id end
  return 'video', id
end

-- The one way into a terminal state. `result` and `failure` are JSON texts or ''.
local function finish(id, state, result, failure)
  local key, now = job_key(id), now_ms()
  local before, account, cost = fields(id, 'state', 'account', 'cost')
  if before == 'in_progress' then book_attempt(id, 'device_ms') end
  book(id, {[state] = 1, cost = state == 'completed' and tonumber(cost) or nil})
  count(state, 1)
  if account ~= '' then redis.call('SREM', active_key(account), id) end
  local retention = tonumber((fields(id, 'retention'))) * 1000
  redis.call('HSET', key, 'state', state, 'completed_ms', text_ms(now), 'expires_ms', text_ms(now + retention))
  redis.call('HDEL', key, 'eta_ms', 'missing_ms')
  local extra = {}
  if result ~= '' then
    redis.call('HSET', key, 'result', result, 'progress', 100, 'stage', '')
  end
  if failure ~= '' then
    redis.call('HSET', key, 'error', failure)
    extra.error = cjson.decode(failure)
  end
  redis.call('ZREM', LEASES, id)
  redis.call('ZREM', DEADLINES, id)
  drop_preview(id)
  leave_queue(id)
  emit(id, 'state', extra)
  local kind, subject_id = subject(id)
  redis.call('XADD', OUTBOX, 'MAXLEN', '~', OUTBOX_LENGTH, '*', 'id', 'evt_' .. string.sub(id, -26),
    'type', kind .. '.' .. state, 'job', id, 'subject', subject_id,
    'owner', (fields(id, 'owner')) or '', 'created_ms', text_ms(now))
  redis.call('PEXPIRE', key, retention)
  redis.call('PEXPIRE', key .. ':events', math.min(retention, HOUR))  -- the record alone tells the end after that
  local idempotency = (fields(id, 'idempotency'))
  if idempotency then redis.call('PEXPIRE', idempotency, math.max(retention, DAY)) end
end

local CANCELLED = cjson.encode({code = 'cancelled', message = 'the job was cancelled', retryable = false})

-- Back to the queue, at its old place. With a delay the reaper dispatches it when it is due.
local function requeue(id, delay_ms, extra)
  local key = job_key(id)
  book_attempt(id, 'retried_ms')
  count('requeued', 1)
  redis.call('HSET', key, 'state', 'queued', 'progress', 0, 'step', 0, 'stage', '', 'worker', '')
  redis.call('HDEL', key, 'eta_ms', 'started_ms', 'missing_ms')
  drop_preview(id)
  redis.call('ZREM', LEASES, id)
  enter_queue(id)
  if delay_ms > 0 then
    redis.call('ZADD', DELAYED, text_ms(now_ms() + delay_ms), id)
  else
    dispatch(id)
  end
  emit(id, 'state', extra)
end

-- An attempt has failed in a way that another one may survive. `backoff` is a list of seconds, one per failure.
local function fail_attempt(id, failure, max_attempts, backoff)
  if (fields(id, 'cancel_requested')) == '1' then
    return finish(id, 'cancelled', '', CANCELLED)
  end
  local failures = redis.call('HINCRBY', job_key(id), 'failures', 1)
  if failures >= max_attempts then
    return finish(id, 'failed', '', failure)
  end
  local delay = backoff[math.min(failures, #backoff)] or 0
  requeue(id, delay * 1000, {retry_in_seconds = delay, reason = cjson.decode(failure).code})
end

-- Cancels a queued job at once; flags a running one, whose worker reads the flag with its next beat.
local function cancel(id)
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
end

-- True when the caller's attempt is the one that runs: the attempt number is the fencing token.
local function is_current(id, attempt)
  local state, current = fields(id, 'state', 'attempt')
  return state == 'in_progress' and current == attempt
end

-- Seconds that the jobs in progress still need which keep workers of a queue busy, as far as is known: its own, and those
-- of other models on workers that hold its model too.
local function running_seconds(queue, now)
  local total = 0
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    local its_queue, worker, eta, shape, steps, started =
      fields(id, 'queue', 'worker', 'eta_ms', 'shape', 'steps_total', 'started_ms')
    if its_queue == queue or (worker and redis.call('ZSCORE', workers_key(queue), worker)) then
      if not eta then
        local step_seconds = redis.call('HGET', SPEED, shape)
        eta = tonumber(started) + (step_seconds and tonumber(step_seconds) * tonumber(steps) * 1000 or 0)
      end
      total = total + math.max(tonumber(eta) - now, 0) / 1000
    end
  end
  return total
end

-- What the place of a queued job and its speed can be told from:
-- now ms, rank or -1, queue length, cost of the queue, seconds left of the jobs in progress,
-- workers with a warm model, learned seconds per step of its shape or '', per unit of cost of its model or ''
local function standing(id, queue, shape, model, now, worker_ttl)
  return {
    text_ms(now), redis.call('ZRANK', waiting_key(queue), id) or -1, redis.call('ZCARD', waiting_key(queue)),
    redis.call('GET', cost_key(queue)) or '0', tostring(running_seconds(queue, now)),
    redis.call('ZCOUNT', workers_key(queue), text_ms(now - worker_ttl), '+inf'),
    redis.call('HGET', SPEED, shape) or '', redis.call('HGET', SPEED, model) or '',
  }
end

-- A job as it is now: record (flat list), and its standing or, when it is not queued, the time alone
local function view(id, worker_ttl)
  local now, record = now_ms(), redis.call('HGETALL', job_key(id))
  local state, queue, shape, model = fields(id, 'state', 'queue', 'shape', 'model')
  if state ~= 'queued' then return {record, {text_ms(now)}} end
  return {record, standing(id, queue, shape, model, now, worker_ttl)}
end
