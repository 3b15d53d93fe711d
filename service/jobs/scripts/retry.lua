-- The attempt has failed in a way that another one may survive: queue the job again with backoff, or fail it for good.
-- ARGV: id, attempt, error JSON, max attempts, backoff seconds...
-- Returns: 'done' | 'lost'
local id, attempt, failure, max_attempts = unpack(ARGV)
if not is_current(id, attempt) then return 'lost' end
local backoff = {}
for i = 5, #ARGV do backoff[#backoff + 1] = tonumber(ARGV[i]) end
fail_attempt(id, failure, tonumber(max_attempts), backoff)
return 'done'
