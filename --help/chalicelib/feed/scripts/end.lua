-- Filling is over.
--
-- ARGV   the origin that was filled, who did it, and '1' when everything is there
-- Reply  1; 0: the origin is another by now, everything is to be done again

if redis.call('GET', ORIGIN) ~= ARGV[1] or not is_same_server() then return 0 end
if ARGV[3] == '1' then redis.call('HSET', RELAY, 'filled', 1) end
if redis.call('HGET', RELAY, 'holder') == ARGV[2] then
  redis.call('HDEL', RELAY, 'holder', 'held_until')
end
return 1
