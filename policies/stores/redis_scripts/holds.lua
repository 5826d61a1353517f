-- Open holds: those in input.ids, or where there are none the ids of all, in the order in which their leases end.
local told = reap()
if not input.ids then
  return answer(told, 'done', redis.call('ZRANGE', leases_key, 0, -1))
end
local shown = {}
for _, id in ipairs(input.ids) do
  local packed = redis.call('HGET', holds_key, id)
  local until_s = redis.call('ZSCORE', leases_key, id)
  if packed and until_s then
    local hold = cmsgpack.unpack(packed)
    shown[#shown + 1] = listed(id, until_s, hold.sent, hold.rows)
  end
end
return answer(told, 'done', shown)
