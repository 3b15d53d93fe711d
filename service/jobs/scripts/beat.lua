-- A sign of life from the worker that runs the attempt, with progress when there is some to tell.
-- ARGV: id, attempt, lease ms, then either nothing or: stage, step, steps, progress, eta ms or '', emit '1' or '0',
--       preview (WebP in base64) or ''
-- Returns: 'lost' when the attempt is no longer the current one, else 'cancel' or 'go'.
local id, attempt, lease, stage, step, steps, progress, eta, tell, preview = unpack(ARGV)
if not is_current(id, attempt) then return 'lost' end
local now = now_ms()
redis.call('ZADD', LEASES, text_ms(now + tonumber(lease)), id)
if stage then
  redis.call('HSET', job_key(id), 'stage', stage, 'step', step, 'steps_total', steps, 'progress', progress)
  local extra = {}
  if eta ~= '' then
    redis.call('HSET', job_key(id), 'eta_ms', text_ms(now + tonumber(eta)))
    extra.eta_seconds = tonumber(eta) / 1000
  end
  if tell == '1' then emit(id, 'progress', extra) end
  if preview and preview ~= '' then
    extra.image = 'data:image/webp;base64,' .. preview
    show_preview(id, extra)
  end
end
return (fields(id, 'cancel_requested')) == '1' and 'cancel' or 'go'
