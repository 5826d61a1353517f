-- The state of meters, after a raise or a reset of them if asked for. input: lines, and `raise` with an `id` of the
-- request (raised once, however often it is asked), or `reset`.
local told = reap()
local states = {}
for at, line in ipairs(input.lines) do
  local account = open(line)
  if not account then
    return answer(told, 'time')
  end
  local is_new = input.raise and redis.call('EXISTS', prefix .. ':over:' .. input.id) == 0
  if is_new then
    if math.abs(account.raised + input.raise) > MOST then
      return answer(told, 'range', exact(account.raised))
    end
    redis.call('SET', prefix .. ':over:' .. input.id, 1, 'EX', DAY_S)
    redis.call('HINCRBY', account.key, 'raised', exact(input.raise))
    account.raised = account.raised + input.raise
    if account.kind ~= 'c' then
      redis.call('PERSIST', account.key)
    end
  elseif input.reset and account.kind == 'c' then
    redis.call('HSET', account.key, 'spent', 0)
    account.spent = 0
  elseif input.reset and account.kind == 'r' then
    local known = rows(account)
    for number = 1, #known, 2 do
      redis.call('HDEL', account.key, known[number])
    end
    account.flat = {}
  end
  states[at] = state(account)
end
return answer(told, 'done', states)
