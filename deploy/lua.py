"""Envoy's scripts: they wrap what a model said with a status other than 2xx, word refusals that name what
was asked for, and find the slot of a client that sticks.
"""

from __future__ import annotations

from deploy.answers import (
    ACCOUNT,
    LOCAL_MARK,
    LOG_GROUP,
    LOG_STREAM,
    ORIGINAL_MESSAGE_BYTES,
    SLOT_HEADER,
    THROTTLED,
)
from serving.contract import STAGE

_QUOTE = r"""
local SHORT = {['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f',
               ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t'}
local REPLACEMENT = '\239\191\189'  -- U+FFFD in UTF-8

local function escape(char)
  return SHORT[char] or string.format('\\u%04x', char:byte())
end

-- Length of the well-formed UTF-8 sequence at i (Unicode table 3-7), or nil.
local function sequence(text, i)
  local a, b, c, d = text:byte(i, i + 3)
  if a < 0x80 then return 1 end
  if a < 0xC2 or a > 0xF4 or not b then return nil end
  local low, high = 0x80, 0xBF
  if a == 0xE0 then low = 0xA0 elseif a == 0xED then high = 0x9F
  elseif a == 0xF0 then low = 0x90 elseif a == 0xF4 then high = 0x8F end
  if b < low or b > high then return nil end
  if a < 0xE0 then return 2 end
  if not c or c < 0x80 or c > 0xBF then return nil end
  if a < 0xF0 then return 3 end
  if not d or d < 0x80 or d > 0xBF then return nil end
  return 4
end

local function valid(text)
  if not text:find('[\128-\255]') then return text end
  local out, i = {}, 1
  while i <= #text do
    local n = sequence(text, i)
    out[#out + 1] = n and text:sub(i, i + n - 1) or REPLACEMENT
    i = i + (n or 1)
  end
  return table.concat(out)
end

-- At most `limit` bytes, not cut within a character.
local function cut(text, limit)
  if #text <= limit then return text end
  local last = limit
  while last > limit - 3 and text:find('^[\128-\191]', last + 1) do last = last - 1 end
  return text:sub(1, last)
end

local function quote(text)
  return '"' .. valid(text):gsub('[%c"\\]', escape) .. '"'
end
"""

_ANSWER = (
    r"""
-- Who failed: a stage of a pipeline by its name, or the only container there is.
local function failed(headers)
  local stage = headers:get('STAGE') or ''
  return #stage <= 63 and stage:match('^[%w-]+$') or 'primary'
end

local function wrapped(status, kind, who, text, endpoint, variant)
  local message = 'Received ' .. kind .. ' error (' .. status .. ') from ' .. who .. ' with message "' ..
    cut(text, 1024) .. '". See LOG_GROUP' .. endpoint .. ' in account ACCOUNT for more information.'
  return '{"Message": ' .. quote(message) ..
    ', "ErrorCode": "' .. kind:upper() .. '_ERROR_FROM_MODEL", "OriginalStatusCode": ' .. tonumber(status) ..
    ', "OriginalMessage": ' .. quote(text) ..
    ', "LogStreamArn": ' .. quote('LOG_STREAM' .. endpoint .. ':log-stream:' .. variant) .. '}'
end

-- Objects of before a wait for the body are gone after it, so headers are fetched twice.
function envoy_on_response(handle)
  local status = handle:headers():get(':status')
  if handle:headers():get('LOCAL_MARK') then
    handle:headers():remove('LOCAL_MARK')
    return
  end
  if status:sub(1, 1) == '2' then return end
  if handle:headers():get('THROTTLED') then
    handle:headers():remove('THROTTLED')
    return
  end
  local kind = status:sub(1, 1) == '5' and 'server' or 'client'
  local who = failed(handle:headers())
  local known = handle:streamInfo():dynamicMetadata()
  known:set('seaway', 'status', tonumber(status))
  known:set('seaway', 'kind', kind)
  known:set('seaway', 'code', kind:upper() .. '_ERROR_FROM_MODEL')
  known:set('seaway', 'who', who)
  local body = handle:body(true)
  local text = cut(body:getBytes(0, math.min(body:length(), LIMIT + 4)), LIMIT)
  local headers = handle:headers()
  local variant = headers:get('x-amzn-invoked-production-variant') or 'unknown'
  local length = body:setBytes(wrapped(status, kind, who, text, handle:streamInfo():routeName(), variant))
  for _, name in ipairs({'content-encoding', 'transfer-encoding', 'retry-after', 'location', 'etag'}) do
    headers:remove(name)
  end
  headers:replace(':status', '424')
  headers:replace('x-amzn-errortype', 'ModelError')
  headers:replace('content-type', 'application/json')
  headers:replace('content-length', tostring(length))
end
""".replace("LOCAL_MARK", LOCAL_MARK)
    .replace("THROTTLED", THROTTLED)
    .replace("LIMIT", str(ORIGINAL_MESSAGE_BYTES))
    .replace("LOG_STREAM", LOG_STREAM)
    .replace("LOG_GROUP", LOG_GROUP)
    .replace("ACCOUNT", ACCOUNT)
    .replace("STAGE", STAGE)
)

_REFUSE = r"""
local function refuse(handle, message)
  handle:respond({[':status'] = '400', ['content-type'] = 'application/json',
                  ['x-amzn-errortype'] = 'ValidationError'}, '{"message": ' .. quote(message) .. '}')
end

local function endpoint(handle)
  local path = handle:headers():get(':path')
  local name = path:match('^/endpoints/([^/?]*)') or path:match('^/v2/models/([^/?]*)') or ''
  return cut(name:gsub('%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end), 256)
end

function envoy_on_response(handle)
  handle:headers():remove('LOCAL_MARK')
end
""".replace("LOCAL_MARK", LOCAL_MARK)

_STICK = r"""
-- FNV-1a over the bytes, then the finalizer of MurmurHash3, so that every bit counts modulo any number.
local function times(a, b)
  local low, high = bit.band(a, 0xffff), bit.rshift(a, 16)
  return bit.tobit(low * b % 4294967296 + bit.lshift(bit.band(high * bit.band(b, 0xffff), 0xffff), 16))
end

local function hash(text)
  local h = bit.tobit(2166136261)
  for i = 1, #text do h = times(bit.bxor(h, text:byte(i)), 16777619) end
  h = times(bit.bxor(h, bit.rshift(h, 16)), 0x85ebca6b)
  h = times(bit.bxor(h, bit.rshift(h, 13)), 0xc2b2ae35)
  h = bit.bxor(h, bit.rshift(h, 16))
  return h % 4294967296
end

local function cookie(headers, name)
  for pair in (headers:get('cookie') or ''):gmatch('[^;]+') do
    local key, value = pair:match('^%s*([^=]-)%s*=%s*(.-)%s*$')
    if key and key:lower() == name then return value end
  end
end

function envoy_on_request(handle)
  local headers, rule = handle:headers(), handle:metadata()
  local name = rule:get('name')
  local client
  if rule:get('source') == 'cookie' then client = cookie(headers, name) else client = headers:get(name) end
  headers:remove('SLOT')
  if client and client ~= '' then headers:add('SLOT', string.format('%d', hash(client))) end
  handle:clearRouteCache()
end
""".replace("SLOT", SLOT_HEADER)

LUA = {
    "answer": _QUOTE + _ANSWER,
    "sticky": _QUOTE + _ANSWER + _STICK,
    "sticky_plain": _STICK,
    "unknown_endpoint": _QUOTE
    + _REFUSE
    + f"""
function envoy_on_request(handle)
  refuse(handle, 'Endpoint ' .. endpoint(handle) .. ' of account {ACCOUNT} not found.')
end
""",
    "unknown_variant": _QUOTE
    + _REFUSE
    + """
function envoy_on_request(handle)
  local variant = cut(handle:headers():get('x-amzn-sagemaker-target-variant') or '', 256)
  refuse(handle, 'Variant ' .. variant .. ' of endpoint ' .. endpoint(handle) .. ' not found.')
end
""",
    "one_model": _QUOTE
    + _REFUSE
    + """
function envoy_on_request(handle)
  refuse(handle, 'Endpoint ' .. endpoint(handle) .. ' has one model; leave TargetModel out.')
end
""",
}
"""Scripts of Envoy's Lua filter by name."""
