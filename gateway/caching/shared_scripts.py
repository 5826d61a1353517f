"""What Redis does for kept answers, each in one round trip. All keys begin with the one that a script is given, which
carries a hash tag: in a cluster they are in one slot.

`:epoch` holds the era and the count of purges, `:purges` is a stream of the last ones (its ids are their numbers),
`:a:NAME` an answer, `:n:NAME` the name of the answer to the same words in other letters, `:notes` the stream of what
is found by meaning, `:l:NAME` a stream of what was learnt about one kind of question, `:h:NAME` a hit by meaning.
"""

import hashlib

from policies.stores.redis_link import Script

MOST_PURGES = 1_000

# {era, seq, new_era, ...}: a new era also begins where somebody knows more purges than are counted. Then Redis came
# back from a disk that the last ones had not reached, while answers of before them had.
_EPOCH = b"""
local base, asked = KEYS[1], cjson.decode(ARGV[1])
local epoch = redis.call('GET', base .. ':epoch')
local era, seq = string.match(epoch or '', '^(.*)/(%d+)$')
if not epoch or (era == asked.era and tonumber(seq) < asked.seq) then
  era, seq = asked.new_era, '0'
  epoch = era .. '/' .. seq
  redis.call('DEL', base .. ':purges')
  redis.call('SET', base .. ':epoch', epoch)
end
"""
# The same with wanted: [[name, name in other letters or ""], ...] -> epoch, purges beyond seq, values.
_READ = b"""
local found = {}
for at, names in ipairs(asked.wanted) do
  local value = redis.call('GET', base .. ':a:' .. names[1])
  if not value and names[2] ~= '' then
    local name = redis.call('GET', base .. ':n:' .. names[2])
    if name then value = redis.call('GET', base .. ':a:' .. name) end
  end
  found[at] = value or ''
end
local purges = {}
if epoch ~= asked.era .. '/' .. asked.seq then
  local from = '-'
  if string.sub(epoch, 1, #asked.era + 1) == asked.era .. '/' then from = string.format('%d-0', asked.seq + 1) end
  purges = redis.call('XRANGE', base .. ':purges', from, '+')
end
return {epoch, purges, found}
"""
# 8 hexadecimal digits with the length of {era, most_notes, rows: [[name, other name or "", ttl_ms, length, whose note,
# its length or 0], ...]}, that, and the values, each with its note behind it -> whether the era is still that one.
_WRITE = b"""
local base, size = KEYS[1], tonumber(string.sub(ARGV[1], 1, 8), 16)
local told, at = cjson.decode(string.sub(ARGV[1], 9, 8 + size)), 9 + size
local epoch = redis.call('GET', base .. ':epoch') or ''
if string.sub(epoch, 1, #told.era + 1) ~= told.era .. '/' then return {0} end
for _, row in ipairs(told.rows) do
  redis.call('SET', base .. ':a:' .. row[1], string.sub(ARGV[1], at, at + row[4] - 1), 'PX', row[3])
  if row[2] ~= '' then redis.call('SET', base .. ':n:' .. row[2], row[1], 'PX', row[3]) end
  at = at + row[4]
  if row[6] > 0 then
    local note = string.sub(ARGV[1], at, at + row[6] - 1)
    redis.call('XADD', base .. ':notes', 'MAXLEN', '~', told.most_notes, '*', 'whose', row[5], 'note', note)
    redis.call('PEXPIRE', base .. ':notes', row[3])
  end
  at = at + row[6]
end
return {1}
"""
# The same with most, and purges: [text, ...] -> epoch.
_PURGE = b"""
for _, purge in ipairs(asked.purges) do
  seq = string.format('%d', tonumber(seq) + 1)
  local row = {'XADD', base .. ':purges', 'MAXLEN', asked.most, seq .. '-0', 'purge', purge}
  local done = redis.pcall(unpack(row))
  if type(done) == 'table' and done.err then
    redis.call('DEL', base .. ':purges')
    redis.call(unpack(row))
  end
end
redis.call('SET', base .. ':epoch', era .. '/' .. seq)
return {era .. '/' .. seq}
"""

_HEADED = b"""
local base, size = KEYS[1], tonumber(string.sub(ARGV[1], 1, 8), 16)
local told, at = cjson.decode(string.sub(ARGV[1], 9, 8 + size)), 9 + size
"""
# 8 hexadecimal digits with the length of {most, kept_ms, rows: [[name, last id or "", lengths], ...]}, that, and the
# records -> for each row the id of the last record behind it, and the records. (Redis 6.0 knows no open ranges.)
_EXCHANGE = b"""
local found = {}
for place, row in ipairs(told.rows) do
  local key, from, last = base .. ':l:' .. row[1], '-', row[2]
  if last ~= '' then
    local ms, number = string.match(last, '^(%d+)-(%d+)$')
    from = ms .. '-' .. string.format('%d', tonumber(number) + 1)
  end
  local records, rows = {}, redis.pcall('XRANGE', key, from, '+')
  if rows.err then
    redis.call('DEL', key)
    rows = {}
  end
  for _, one in ipairs(rows) do
    last = one[1]
    records[#records + 1] = one[2][2]
  end
  for _, length in ipairs(row[3]) do
    redis.call('XADD', key, 'MAXLEN', '~', told.most, '*', 'r', string.sub(ARGV[1], at, at + length - 1))
    at = at + length
  end
  if #row[3] > 0 then redis.call('PEXPIRE', key, told.kept_ms) end
  found[place] = {last, records}
end
return found
"""
# The same head, of {kept_ms, rows: [[name, length], ...]}, and the hits.
_PUT_HITS = b"""
for _, row in ipairs(told.rows) do
  redis.call('SET', base .. ':h:' .. row[1], string.sub(ARGV[1], at, at + row[2] - 1), 'PX', told.kept_ms)
  at = at + row[2]
end
return {1}
"""
# The same head, of {name} -> the hit or ''.
_TAKE_HIT = b"""
local key = base .. ':h:' .. told.name
local found = redis.call('GET', key)
redis.call('DEL', key)
return {found or ''}
"""
_DISCARD = b"return {redis.call('DEL', base .. ':l:' .. told.name)}"


def _script(text: bytes) -> Script:
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


READ, WRITE, PURGE = _script(_EPOCH + _READ), _script(_WRITE), _script(_EPOCH + _PURGE)
EXCHANGE, PUT_HITS, TAKE_HIT, DISCARD = (
    _script(_HEADED + text) for text in (_EXCHANGE, _PUT_HITS, _TAKE_HIT, _DISCARD)
)
