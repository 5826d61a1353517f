-- What every script shares. KEYS[1] is the hash-tagged prefix, so that all keys that are made from it lie in one slot of
-- a cluster. ARGV[1] is a JSON object. Amounts are whole numbers below 2^53, exact in Lua's doubles; text is made of
-- them by `exact`, because Lua's own conversion keeps 14 digits.
--
-- Keys: <prefix>            when this data began: another value means that all before was lost
--       <prefix>:m:<meter>  hash: the present window (calendar), or buckets by number (rolling), with held and raised
--       <prefix>:m:<meter>:<start>  a window that ended while something of it was still held
--       <prefix>:holds      hash: open holds by id, packed
--       <prefix>:leases     sorted set: open holds by the end of their lease
--       <prefix>:late:<id>  a hold whose lease ended, for a settlement that comes after all
--       <prefix>:over:<id>  this id may not hold, or charge, any more

local prefix = KEYS[1]
local input = cjson.decode(ARGV[1])
local holds_key, leases_key = prefix .. ':holds', prefix .. ':leases'
local DAY_S, REAPED_AT_ONCE, KEPT_FOR_CARRY_S = 86400, 100, 400 * 86400
local MOST = 2 ^ 53 - 1

local now = input.now
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function exact(number)
  return string.format('%.17g', number)
end

local function meter_key(id)
  return prefix .. ':m:' .. id
end

-- Rows of a hold: {meter, kind, mark, amount, bucket_s, buckets}. Frees `freed` of what is held, and charges `used`
-- where the hold was taken, as long as that window is still known.
local function book(row, used, freed)
  local kind, mark = row[2], row[3]
  local key = meter_key(row[1])
  if kind == 'c' and tonumber(redis.call('HGET', key, 'start')) ~= mark then
    key = key .. ':' .. exact(mark)
    if redis.call('EXISTS', key) == 0 then
      return
    end
  end
  if freed ~= 0 and redis.call('HINCRBY', key, 'held', exact(-freed)) < 0 then
    redis.call('HSET', key, 'held', 0) -- the key had expired in between
  end
  if used ~= 0 and kind == 'c' then
    redis.call('HINCRBY', key, 'spent', exact(used))
  elseif used ~= 0 and kind == 'r' and mark + 1 > now / row[5] - row[6] then
    redis.call('HINCRBY', key, exact(mark), exact(used))
  end
  if kind ~= 'c' and redis.call('TTL', key) == -1 and not redis.call('HGET', key, 'raised') then
    redis.call('EXPIRE', key, DAY_S)
  end
end

-- A hold as answers have it. `sent` is 0 or 1; -1 where what was charged at the end of its lease was taken back.
local function listed(id, until_s, sent, rows)
  local shown = {id, exact(tonumber(until_s)), sent}
  for _, row in ipairs(rows) do
    shown[#shown + 1] = row[1]
    shown[#shown + 1] = row[4]
  end
  return shown
end

-- Ends leases whose time is over, some at each call. What had been sent is charged in full, the rest is free again.
local function reap()
  local over = redis.call('ZRANGEBYSCORE', leases_key, '-inf', exact(now), 'WITHSCORES', 'LIMIT', 0, REAPED_AT_ONCE)
  local told = {}
  for at = 1, #over, 2 do
    local id = over[at]
    local packed = redis.call('HGET', holds_key, id)
    if packed then
      local hold = cmsgpack.unpack(packed)
      for _, row in ipairs(hold.rows) do
        book(row, hold.sent == 1 and row[4] or 0, row[4])
      end
      redis.call('HDEL', holds_key, id)
      redis.call('SET', prefix .. ':late:' .. id, packed, 'EX', DAY_S)
      told[#told + 1] = listed(id, over[at + 1], hold.sent, hold.rows)
    end
    redis.call('ZREM', leases_key, id)
  end
  return told
end

-- Lines: {meter, 'c', limit, amount, carry_max, start, end, next start, next end, calendar}, {meter, 'r', limit,
-- amount, bucket_s, buckets} or {meter, 's', limit, amount}. Accounts have `limit` with raises and carry-over, and `used`.

local function read_calendar(key)
  local is = redis.call('HMGET', key, 'start', 'end', 'spent', 'held', 'raised', 'carried', 'calendar')
  return {
    key = key, kind = 'c', start = tonumber(is[1]), stop = tonumber(is[2]), spent = tonumber(is[3]) or 0,
    held = tonumber(is[4]) or 0, raised = tonumber(is[5]) or 0, carried = tonumber(is[6]) or 0,
    calendar = is[7],
  }
end

local function limited_calendar(account, limit)
  account.limit = limit + account.carried + account.raised
  account.used = account.spent + account.held
  account.mark = account.start
  return account
end

-- nil where the line's windows do not contain the store's time: whoever asks has another clock.
local function open_calendar(line)
  local key, limit, carry_max = meter_key(line[1]), line[3], line[5]
  local account = read_calendar(key)
  if account.start and now < account.stop then
    return limited_calendar(account, limit)
  end
  local start, stop = line[6], line[7]
  if now < start or now >= stop then
    start, stop = line[8], line[9]
    if not start or now < start or now >= stop then
      return nil
    end
  end
  local carried = 0
  if account.start then
    if carry_max > 0 then
      local left = 0 -- where the time zone was changed: nobody knows what was spent in the window before
      if account.stop == start then
        left = limit + account.raised - account.spent - account.held
      elseif account.calendar == line[10] then
        left = limit -- nothing at all was spent in the windows between
      end
      carried = math.max(0, math.min(carry_max, left))
    end
    if account.held > 0 then
      local ended = key .. ':' .. exact(account.start)
      redis.call('RENAME', key, ended)
      redis.call('EXPIRE', ended, DAY_S)
    else
      redis.call('DEL', key)
    end
  end
  redis.call(
    'HSET', key, 'start', exact(start), 'end', exact(stop), 'carried', exact(carried), 'calendar', line[10] or '')
  if stop < 1e17 then
    redis.call('EXPIRE', key, math.ceil(stop - now) + (carry_max > 0 and KEPT_FOR_CARRY_S or DAY_S))
  end
  return limited_calendar(
    {key = key, kind = 'c', start = start, stop = stop, spent = 0, held = 0, raised = 0, carried = carried}, limit)
end

-- The bucket that is leaving the window counts in full until it has left.
local function open_rolling(line)
  local key, bucket_s, buckets = meter_key(line[1]), line[5], line[6]
  local flat = redis.call('HGETALL', key)
  local account = {key = key, kind = 'r', held = 0, raised = 0, flat = flat, mark = math.floor(now / bucket_s)}
  local oldest, spent, gone = now / bucket_s - buckets - 1, 0, {}
  account.oldest = oldest
  for at = 1, #flat, 2 do
    local name, amount = flat[at], tonumber(flat[at + 1])
    local number = tonumber(name)
    if not number then
      account[name] = amount
    elseif number <= oldest then
      gone[#gone + 1] = name
    else
      spent = spent + amount
    end
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  account.used, account.limit = spent + account.held, line[3] + account.raised
  account.keep_s = math.ceil(bucket_s * buckets) + DAY_S
  return account
end

local function open_slots(line)
  local key = meter_key(line[1])
  local is = redis.call('HMGET', key, 'held', 'raised')
  local account = {key = key, kind = 's', mark = 0, held = tonumber(is[1]) or 0, raised = tonumber(is[2]) or 0}
  account.used, account.limit, account.keep_s = account.held, line[3] + account.raised, DAY_S
  return account
end

local openers = {c = open_calendar, r = open_rolling, s = open_slots}

local function open(line)
  return openers[line[2]](line)
end

-- The buckets that count: number, amount, number, amount...
local function rows(account)
  local found = {}
  for at = 1, #account.flat, 2 do
    local number = tonumber(account.flat[at])
    if number and number > account.oldest then
      found[#found + 1] = account.flat[at]
      found[#found + 1] = account.flat[at + 1]
    end
  end
  return found
end

-- As text, because integers of an answer are all that keep their digits.
local function state(account)
  if account.kind == 'c' then
    return {
      'c', exact(account.start), exact(account.stop), exact(account.spent), exact(account.held),
      exact(account.raised), exact(account.carried),
    }
  end
  return {account.kind, exact(account.held), exact(account.raised), unpack(account.flat and rows(account) or {})}
end

local function answer(told, status, ...)
  return {exact(now), told, status, ...}
end
