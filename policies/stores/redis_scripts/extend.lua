-- Makes a hold as large as `amounts` (asked again, it is so already). input: id, amounts, limits.
-- Answers granted {left...}, denied {number of the line, state}, or gone.
local told = reap()
local packed = redis.call('HGET', holds_key, input.id)
if not packed then
  return answer(told, 'gone')
end
local hold = cmsgpack.unpack(packed)
local accounts, left = {}, {}
for at, row in ipairs(hold.rows) do
  local account
  if row[2] == 'c' then
    local key = meter_key(row[1])
    if tonumber(redis.call('HGET', key, 'start')) ~= row[3] then
      key = key .. ':' .. exact(row[3])
    end
    account = limited_calendar(read_calendar(key), input.limits[at])
    if not account.start then -- over, and nothing was held in it: nobody knows what was spent, so there is no room
      account.start, account.stop, account.spent, account.used = row[3], now, account.limit, account.limit
    end
  else
    account = open({row[1], row[2], input.limits[at], 0, row[5], row[6]})
  end
  local more = input.amounts[at] - row[4]
  local room = account.limit - account.used - more
  if room < 0 and more > 0 then
    return answer(told, 'denied', at - 1, state(account))
  end
  accounts[at], left[at] = account, room
end
for at, row in ipairs(hold.rows) do
  redis.call('HINCRBY', accounts[at].key, 'held', exact(input.amounts[at] - row[4]))
  row[4] = input.amounts[at]
end
redis.call('HSET', holds_key, input.id, cmsgpack.pack(hold))
return answer(told, 'granted', left)
