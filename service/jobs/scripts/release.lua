-- A stopping worker hands its job back: queued again at once, and the attempt does not count as a failure.
-- ARGV: id, attempt
-- Returns: 'done' | 'lost'
local id, attempt = unpack(ARGV)
if not is_current(id, attempt) then return 'lost' end
if (fields(id, 'cancel_requested')) == '1' then
  finish(id, 'cancelled', '', CANCELLED)
else
  requeue(id, 0)
end
return 'done'
