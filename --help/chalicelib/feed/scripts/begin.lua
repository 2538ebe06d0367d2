-- Find out whether the entries are whole; if not, who fills them, and from where.
--
-- ARGV   a new origin, for the case that one is needed
--        since when to fill then, epoch milliseconds
--        who asks, and for how many milliseconds it would fill at most
-- Reply  {state, origin, since}: 'whole'; 'yours' to fill; 'another' is filling

local origin = redis.call('GET', ORIGIN)
if not origin or not is_same_server() then
  origin = ARGV[1]
  redis.call('SET', ORIGIN, origin)
  redis.call('DEL', RELAY)
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
  redis.call('HSET', RELAY, 'server', server, 'since', ARGV[2])
end
local relay = redis.call('HMGET', RELAY, 'since', 'filled', 'holder', 'held_until')
if relay[2] then return {'whole', origin, relay[1]} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if relay[3] and relay[3] ~= ARGV[3] and tonumber(relay[4]) > now then
  return {'another', origin, relay[1]}
end
redis.call('HSET', RELAY, 'holder', ARGV[3], 'held_until', string.format('%.0f', now + ARGV[4]))
return {'yours', origin, relay[1]}
