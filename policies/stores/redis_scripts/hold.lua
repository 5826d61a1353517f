-- Takes all amounts or none. input: id, lines, lease, sent (0 or 1).
-- Answers granted {data's beginning, left...}, denied {number of the line, state}, over, or time (the windows are wrong).
local told = reap()
local began = redis.call('GET', prefix)
if not began then
  began = exact(now)
  redis.call('SET', prefix, began)
end
local known = redis.call('HGET', holds_key, input.id)
if known then
  return answer(told, 'granted', began, cmsgpack.unpack(known).left)
end
if redis.call('EXISTS', prefix .. ':over:' .. input.id, prefix .. ':late:' .. input.id) > 0 then
  return answer(told, 'over')
end

local accounts, left, rows = {}, {}, {}
for at, line in ipairs(input.lines) do
  local account = open(line)
  if not account then
    return answer(told, 'time')
  end
  local room = account.limit - account.used - line[4]
  if room < 0 then
    return answer(told, 'denied', at - 1, state(account))
  end
  accounts[at], left[at] = account, room
  rows[at] = {line[1], line[2], account.mark, line[4], line[2] == 'r' and line[5] or 0, line[2] == 'r' and line[6] or 0}
end
for at, account in ipairs(accounts) do
  redis.call('HINCRBY', account.key, 'held', exact(rows[at][4]))
  if account.keep_s and account.raised == 0 then
    redis.call('EXPIRE', account.key, account.keep_s)
  end
end
redis.call('HSET', holds_key, input.id, cmsgpack.pack({sent = input.sent, rows = rows, left = left}))
redis.call('ZADD', leases_key, exact(now + input.lease), input.id)
return answer(told, 'granted', began, left)
