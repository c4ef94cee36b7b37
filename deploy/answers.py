"""Answers in the place of a model: SageMaker's errors, as Envoy's scripts and reply mappers.

Two parts, because Envoy tells them apart: `local_replies` shapes what the gateway says itself (nobody
healthy, a time-out, too long a body), `LUA["answer"]` wraps what a model said with a status other than 2xx.
"""

from __future__ import annotations

from typing import Any

LOCAL_MARK = "x-seaway-local"
"""Header on the gateway's own replies between mapper and script; it never leaves, and no model can set it."""
THROTTLED = "x-seaway-throttled"
"""Header of a refusal that no model has seen (too many at once): it passes as it is, without the header."""
SLOT_HEADER = "x-seaway-slot"
"""Header by which a client's hash finds its place in a split; only ever set by the gateway itself."""
ACCOUNT = "000000000000"
"""Stands where SageMaker names an account."""
ORIGINAL_MESSAGE_BYTES = 32 * 1024
"""Most of a failing model's body that is handed on; `Message` quotes the first 1 KiB."""

_LOG_STREAM = f"arn:aws:logs:local:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/"

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
local function wrapped(status, text, endpoint, variant)
  local kind = status:sub(1, 1) == '5' and 'server' or 'client'
  local message = 'Received ' .. kind .. ' error (' .. status .. ') from primary with message "' ..
    cut(text, 1024) .. '". See the log of variant ' .. variant .. '.'
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
  handle:streamInfo():dynamicMetadata():set('seaway', 'status', tonumber(status))
  local body = handle:body(true)
  local text = cut(body:getBytes(0, math.min(body:length(), LIMIT + 4)), LIMIT)
  local headers = handle:headers()
  local variant = headers:get('x-amzn-invoked-production-variant') or 'unknown'
  local length = body:setBytes(wrapped(status, text, handle:streamInfo():routeName(), variant))
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
    .replace("LOG_STREAM", _LOG_STREAM)
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
}
"""Scripts of Envoy's Lua filter by name."""


def local_replies(max_body_bytes: int) -> dict[str, Any]:
    """How the gateway words its own replies; the first entry that fits is taken."""
    too_long = f"The request body is longer than {max_body_bytes} bytes; send less at once."
    too_many = "Too many requests wait for this variant; try again."
    return {
        "mappers": [
            _too_long_answer(),
            _model_error(["UT"], 504, "the model did not answer in time"),
            _mapper(_flags(["UO", "OM"]), "ThrottlingException", {"message": too_many}, status=429),
            _model_error(["UC", "UR", "UPE"], 503, "the instance broke off"),
            _model_error(["UH", "UF", "NC", "URX", "LR", "LH"], 503, "no instance answered"),
            _mapper(_status("EQ", 413), None, {"message": too_long}),
            {"filter": _status("GE", 100), "headers_to_add": [_mark()]},
        ]
    }


def _model_error(flags: list[str], status: int, reason: str) -> dict[str, Any]:
    body = {
        "Message": f'Received server error ({status}) from primary with message "{reason}". '
        "See the log of endpoint %ROUTE_NAME%.",
        "ErrorCode": "SERVER_ERROR_FROM_MODEL",
        "OriginalStatusCode": status,
        "OriginalMessage": f"{reason} (%RESPONSE_FLAGS%)",
        "LogStreamArn": f"{_LOG_STREAM}%ROUTE_NAME%",
    }
    return _mapper(_flags(flags), "ModelError", body, status=424)


def _too_long_answer() -> dict[str, Any]:
    """A failing model's body that does not fit the buffer: the script left the status, the body is lost."""
    status = "%DYNAMIC_METADATA(seaway:status)%"
    body = {
        "Message": f"Received error ({status}) from primary with a message too long to hand on. "
        "See the log of endpoint %ROUTE_NAME%.",
        "ErrorCode": "SERVER_ERROR_FROM_MODEL",
        "OriginalStatusCode": status,
        "OriginalMessage": "",
        "LogStreamArn": f"{_LOG_STREAM}%ROUTE_NAME%",
    }
    wrapping = {"filter": "seaway", "path": [{"key": "status"}], "value": {"present_match": True}}
    chosen = {"metadata_filter": {"matcher": wrapping, "match_if_key_not_found": False}}
    mapper = _mapper(chosen, "ModelError", body, status=424)
    # This reply passes no filter any more, so nobody would take the mark off or add the request's id.
    mapper["headers_to_add"][0] = _header("x-amzn-RequestId", "%REQ(x-request-id)%")
    return mapper


def _mapper(
    chosen: dict[str, Any], code: str | None, body: dict[str, Any], *, status: int | None = None
) -> dict[str, Any]:
    named = [_header("x-amzn-ErrorType", code)] if code else []
    return {
        "filter": chosen,
        "headers_to_add": [_mark(), *named],
        "body_format_override": {"json_format": body},
        **({"status_code": status} if status else {}),
    }


def _mark() -> dict[str, Any]:
    return _header(LOCAL_MARK, "1")


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _flags(flags: list[str]) -> dict[str, Any]:
    return {"response_flag_filter": {"flags": flags}}


def _status(op: str, value: int) -> dict[str, Any]:
    return {
        "status_code_filter": {
            "comparison": {"op": op, "value": {"default_value": value, "runtime_key": "seaway.never"}}
        }
    }
