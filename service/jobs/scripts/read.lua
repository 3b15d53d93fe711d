-- A job as it is now, with what its place in the queue and its speed can be told from.
-- ARGV: id, worker TTL ms
-- Returns: record (flat list), now ms, rank or -1, queue length, cost of the queue, workers with a warm model,
--          learned seconds per step of its shape or '', learned seconds per unit of cost of its model or ''
local id, worker_ttl = ARGV[1], tonumber(ARGV[2])
local now, record = now_ms(), redis.call('HGETALL', job_key(id))
local state, queue, shape, model = fields(id, 'state', 'queue', 'shape', 'model')
if state ~= 'queued' then return {record, text_ms(now), -1, 0, '0', 0, '', ''} end
return {
  record, text_ms(now), redis.call('ZRANK', waiting_key(queue), id) or -1, redis.call('ZCARD', waiting_key(queue)),
  redis.call('GET', cost_key(queue)) or '0',
  redis.call('ZCOUNT', waiting_key(queue) .. ':workers', text_ms(now - worker_ttl), '+inf'),
  redis.call('HGET', SPEED, shape) or '', redis.call('HGET', SPEED, model) or '',
}
