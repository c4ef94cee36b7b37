"""Answers in the place of a model: SageMaker's errors, as Envoy's reply mappers.

They shape what the gateway says itself: nobody healthy, a time-out, too long a body. What a model said with
a status other than 2xx is wrapped by a script, `deploy.lua.LUA["answer"]`.
"""

from __future__ import annotations

from typing import Any

LOCAL_MARK = "x-seaway-local"
"""Header on the gateway's own replies between mapper and script; it never leaves, and no model can set it."""
ASYNC_MARK = "x-seaway-asynchronous"
"""Header on what the asynchronous service sends; its own listener sets it, the public one takes it off."""
THROTTLED = "x-seaway-throttled"
"""Header of a refusal that no model has seen (too many at once): it passes as it is, without the header.
Only the activator of serverless model servers sets it; from anybody else it is taken off."""
ERROR_TYPE = "x-amzn-errortype"
"""Header that names an error of the runtime API. The asynchronous service goes by it."""
SLOT_HEADER = "x-seaway-slot"
"""Header by which a client's hash finds its place in a split; only ever set by the gateway itself."""
ACCOUNT = "000000000000"
"""Stands where SageMaker names an account."""
ORIGINAL_MESSAGE_BYTES = 32 * 1024
"""Most of a failing model's body that is handed on; `Message` quotes the first 1 KiB."""

LOG_GROUP = "/aws/sagemaker/Endpoints/"
"""Where SageMaker would keep an endpoint's log: its name follows."""
LOG_STREAM = f"arn:aws:logs:local:{ACCOUNT}:log-group:{LOG_GROUP}"

_CALL = r"/endpoints/[^/]+/async-invocations(\?.*)?"
_SEE = f"See {LOG_GROUP}%ROUTE_NAME% in account {ACCOUNT} for more information."


def local_replies(max_body_bytes: int) -> dict[str, Any]:
    """How the gateway words its own replies; the first entry that fits is taken."""
    too_long = f"The request body is longer than {max_body_bytes} bytes; send less at once."
    too_many = "Too many requests wait for this variant; try again."
    left = "The variant left while the request was arriving, and no model has seen it; try again."
    return {
        "mappers": [
            *_of_asynchronous_calls(),
            _too_long_answer(),
            _model_error(["UT"], 504, "the model did not answer in time"),
            _mapper(_flags(["UO", "OM"]), "ThrottlingException", {"message": too_many}, status=429),
            _model_error(["UC", "UR", "UPE"], 503, "the instance broke off"),
            _mapper(_flags(["NC"]), "ServiceUnavailable", {"message": left}, status=503),
            _model_error(["UH", "UF", "URX", "LR", "LH"], 503, "no instance answered"),
            _mapper(_status("EQ", 413), None, {"message": too_long}),
            {"filter": _status("GE", 100), "headers_to_add": [_mark()]},
        ]
    }


def _of_asynchronous_calls() -> list[dict[str, Any]]:
    """No model has failed here: calls that met no instance wait, broken ones are repeated by the service."""
    calling = {"name": ":path", "string_match": {"safe_regex": {"regex": _CALL}}}
    sending = {"name": ASYNC_MARK, "present_match": True}
    nobody, broken = ["UH", "UF", "NC", "URX", "LR", "LH"], ["UC", "UR", "UPE"]
    said = {
        "down": "The asynchronous service does not answer; try again.",
        "nobody": "No instance of the endpoint takes requests now.",
        "broken": "The instance broke off.",
    }

    def mapper(
        flags: list[str], matched: dict[str, Any], code: str, word: str, status: int
    ) -> dict[str, Any]:
        both = [_flags(flags), {"header_filter": {"header": matched}}]
        return _mapper({"and_filter": {"filters": both}}, code, {"message": said[word]}, status=status)

    return [
        mapper([*nobody, *broken, "UT"], calling, "ServiceUnavailable", "down", 503),
        mapper(nobody, sending, "ServiceUnavailable", "nobody", 503),
        mapper(broken, sending, "InternalFailure", "broken", 500),
    ]


def _model_error(flags: list[str], status: int, reason: str) -> dict[str, Any]:
    body = {
        "Message": f'Received server error ({status}) from primary with message "{reason}". {_SEE}',
        "ErrorCode": "SERVER_ERROR_FROM_MODEL",
        "OriginalStatusCode": status,
        "OriginalMessage": f"{reason} (%RESPONSE_FLAGS%)",
        "LogStreamArn": f"{LOG_STREAM}%ROUTE_NAME%",
    }
    return _mapper(_flags(flags), "ModelError", body, status=424)


def _too_long_answer() -> dict[str, Any]:
    """A failing model's body that does not fit the buffer: the script left the status, the body is lost."""
    kind, status, who, code = (
        f"%DYNAMIC_METADATA(seaway:{name})%" for name in ("kind", "status", "who", "code")
    )
    body = {
        "Message": f"Received {kind} error ({status}) from {who} with a message too long to hand on. {_SEE}",
        "ErrorCode": code,
        "OriginalStatusCode": status,
        "OriginalMessage": "",
        "LogStreamArn": f"{LOG_STREAM}%ROUTE_NAME%",
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
