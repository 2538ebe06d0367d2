-- Append records, each only if it comes after the newest one of its shard.
--
-- ARGV   the origin being filled, or '' for records as they are put
--        about how many entries to keep
--        for each record: shard, sequence, subsequence, partition key, arrival, field, data
-- Reply  how many were appended, the rest being repetitions; -1: none, because entries may be
--        missing before these, or the origin is another by now

local origin = redis.call('GET', ORIGIN)
if not origin or not is_same_server() then return -1 end
if ARGV[1] == '' then
  if redis.call('HEXISTS', RELAY, 'filled') == 0 then return -1 end
elseif ARGV[1] ~= origin then
  return -1
end

-- Sequence numbers have 56 digits, far beyond what a double holds: of two numbers without leading
-- zeros the longer one is the larger one, and those of one length compare as text.
local function is_greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local newest, appended = {}, 0
for at = 3, #ARGV, 7 do
  local shard, sequence, subsequence = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local last = newest[shard] or redis.call('HGET', LAST, shard) or ''
  local last_sequence, last_subsequence = string.match(last, '^(%d+)-(%d+)$')
  if not last_sequence
    or is_greater(sequence, last_sequence)
    or (sequence == last_sequence and is_greater(subsequence, last_subsequence))
  then
    local position = sequence .. '-' .. subsequence
    local header = table.concat({shard, position, last, ARGV[at + 4], ARGV[at + 3]}, ' ')
    redis.call('XADD', RECORDS, 'MAXLEN', '~', ARGV[2], '*', 'h', header, ARGV[at + 5], ARGV[at + 6])
    last = position
    appended = appended + 1
  end
  newest[shard] = last
end
if appended > 0 then
  for shard, last in pairs(newest) do redis.call('HSET', LAST, shard, last) end
end
return appended
