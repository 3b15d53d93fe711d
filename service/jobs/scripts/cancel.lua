-- Cancels a queued job at once; flags a running one, whose worker reads the flag with its next beat.
-- ARGV: id
-- Returns: 'missing' | 'terminal' | 'cancelled' | 'flagged'
return cancel(ARGV[1])
