-- A job as it is now.
-- ARGV: id, worker TTL ms
-- Returns: see `view`
return view(ARGV[1], tonumber(ARGV[2]))
