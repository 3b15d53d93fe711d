-- Repairs the link between every queue of ours and RQ's lists. A queued job that RQ neither lists nor has just handed to
-- a worker was lost on the way (a worker died between pop and claim): its next attempt is dispatched anew. What RQ still
-- carries for a job that no longer waits for it is thrown away.
-- Looks at the front of each queue only, and so for as long as Redis may keep everybody waiting: what is lost further
-- back comes there in time.
-- ARGV: grace ms
-- Returns: number dispatched anew
local grace, now = tonumber(ARGV[1]), now_ms()
local FRONT, MOST_SEARCHES = 256, 8

-- RQ's list has nearly the order of the queue: what is not among its first names is searched for in the rest.
-- Returns: a function that tells whether RQ lists a name; it says so unseen when it has searched often enough
local function listed_in(queue)
  local names, searches = {}, 0
  for _, name in ipairs(redis.call('LRANGE', rq_list(queue), 0, 2 * FRONT - 1)) do names[name] = true end
  return function(name)
    if names[name] or searches == MOST_SEARCHES then return true end
    searches = searches + 1
    return redis.call('LPOS', rq_list(queue), name) and true or false
  end
end

-- Returns: number dispatched anew
local function repair(queue)
  local is_listed, repaired = listed_in(queue), 0
  for _, id in ipairs(redis.call('ZRANGE', waiting_key(queue), 0, FRONT - 1)) do
    local attempt, missing, state = fields(id, 'attempt', 'missing_ms', 'state')
    if state ~= 'queued' then
      redis.call('ZREM', waiting_key(queue), id)
      redis.call('ZREM', since_key(queue), id)
    elseif redis.call('ZSCORE', DELAYED, id) or is_listed(attempt_name(id, tonumber(attempt) + 1)) then
      if missing then redis.call('HDEL', job_key(id), 'missing_ms') end
    elseif not missing then
      redis.call('HSET', job_key(id), 'missing_ms', text_ms(now))
    elseif now - tonumber(missing) >= grace then
      undispatch(id)
      redis.call('HINCRBY', job_key(id), 'attempt', 1)
      redis.call('HDEL', job_key(id), 'missing_ms')
      dispatch(id)
      repaired = repaired + 1
    end
  end
  return repaired
end

local function clean(queue)
  for _, name in ipairs(redis.call('LRANGE', rq_popped(queue), 0, -1)) do
    local id, number = string.match(name, '^(.*)%-a(%d+)$')
    local waits = false
    if id then
      local state, attempt = fields(id, 'state', 'attempt')
      waits = state == 'queued' and tonumber(attempt) + 1 == tonumber(number)
    end
    if not waits then
      redis.call('LREM', rq_popped(queue), 0, name)
      redis.call('DEL', rq_job(name))
    end
  end
end

local repaired = 0
for _, queue in ipairs(redis.call('SMEMBERS', QUEUES)) do
  repaired = repaired + repair(queue)
  clean(queue)
end
return repaired
