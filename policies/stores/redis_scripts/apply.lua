-- What needs no answer, in order. input.ops: {'settle', id, data's beginning, is_final, amounts, at, lines},
-- {'renew', ids, lease} or {'dispatched', id}.

-- First of all: after a time without Redis, what is still running must not be taken for over.
for _, op in ipairs(input.ops) do
  if op[1] == 'renew' then
    for _, id in ipairs(op[2]) do
      redis.call('ZADD', leases_key, 'XX', exact(now + op[3]), id)
    end
  end
end

local told = reap()
local began = redis.call('GET', prefix)

-- What was used belongs to the window around `at`; one that is over counts for nobody any more.
local function charge(line, used, at)
  if line[2] == 'r' then
    local number = math.floor(at / line[5])
    if number + 1 > now / line[5] - line[6] then
      redis.call('HINCRBY', meter_key(line[1]), exact(number), exact(used))
      redis.call('EXPIRE', meter_key(line[1]), math.ceil(line[5] * line[6]) + DAY_S)
    end
  elseif line[2] == 'c' then
    local account = open(line)
    if account and account.start <= at and at < account.stop then
      redis.call('HINCRBY', account.key, 'spent', exact(used))
    end
  end
end

-- A hold that nobody knows was settled before, unless it was taken before all data was lost, or elsewhere.
local function settle_unknown(id, held_in, amounts, at, lines)
  if #lines == 0 or held_in == began or now - at > DAY_S then
    return
  end
  if redis.call('SET', prefix .. ':over:' .. id, 1, 'NX', 'EX', DAY_S) then
    for number, line in ipairs(lines) do
      if amounts[number] ~= 0 then
        charge(line, amounts[number], at)
      end
    end
  end
end

local ops = {}

function ops.settle(id, held_in, is_final, amounts, at, lines)
  local late_key = prefix .. ':late:' .. id
  local packed = redis.call('HGET', holds_key, id)
  local late = not packed and redis.call('GET', late_key)
  if packed then
    for number, row in ipairs(cmsgpack.unpack(packed).rows) do
      book(row, amounts[number] or 0, row[4])
    end
    redis.call('HDEL', holds_key, id)
    redis.call('ZREM', leases_key, id)
  elseif late then
    local hold = cmsgpack.unpack(late)
    for number, row in ipairs(hold.rows) do
      book(row, (amounts[number] or 0) - (hold.sent == 1 and row[4] or 0), 0)
    end
    if hold.sent == 1 then
      told[#told + 1] = listed(id, now, -1, hold.rows)
    end
    redis.call('DEL', late_key)
  else
    settle_unknown(id, held_in, amounts, at, lines)
  end
  if is_final == 1 then
    redis.call('SET', prefix .. ':over:' .. id, 1, 'EX', DAY_S)
  end
end

function ops.renew() -- done
end

function ops.dispatched(id)
  local packed = redis.call('HGET', holds_key, id)
  if packed then
    local hold = cmsgpack.unpack(packed)
    hold.sent = 1
    redis.call('HSET', holds_key, id, cmsgpack.pack(hold))
  end
end

for _, op in ipairs(input.ops) do
  ops[op[1]](unpack(op, 2))
end
return answer(told, 'done')
