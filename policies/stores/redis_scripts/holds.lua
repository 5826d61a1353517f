-- Open holds in the order in which their leases end; at most input.most of them.
local told = reap()
local found = redis.call('ZRANGE', leases_key, 0, input.most - 1, 'WITHSCORES')
local shown = {}
for at = 1, #found, 2 do
  local packed = redis.call('HGET', holds_key, found[at])
  if packed then
    local hold = cmsgpack.unpack(packed)
    local row = {found[at], found[at + 1], hold.sent}
    for _, part in ipairs(hold.rows) do
      row[#row + 1] = part[1]
      row[#row + 1] = part[4]
    end
    shown[#shown + 1] = row
  end
end
return answer(told, 'done', shown)
