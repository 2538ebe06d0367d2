-- Goes before each of the other scripts.
--
-- KEYS of all: records, last, origin, relay; chalicelib/contract/fanout.py describes them.
-- The relay's hash: server (run id of the server that the entries were appended on), since (epoch
-- milliseconds: where shards without a position are filled from), filled (when they all were),
-- holder and held_until (who fills them).

local RECORDS, LAST, ORIGIN, RELAY = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- A server that was restarted, or a replica that took over, may lack the newest writes: another
-- run id is how that shows, whatever the data looks like.
local function is_same_server()
  local known = redis.call('HGET', RELAY, 'server')
  return known and known == (string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or '')
end
