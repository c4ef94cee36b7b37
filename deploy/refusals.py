"""What the gateway answers itself, as Envoy's direct responses: plain data.

Refusals come in the order that a caller needs them: a header that breaks the API's limits on any endpoint,
what one endpoint does not take, and at last a path that no endpoint has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploy.answers import ASYNC_MARK
from deploy.listener import ASYNC_CLUSTER
from deploy.parts import header, match, of_value, plain, script
from serving import about, contract
from serving.limits import INVOKE

_STREAMS = "/endpoints/[^/]+/invocations-response-stream"
_INVOCATIONS = "/endpoints/[^/]+/invocations(-response-stream)?"
_NEVER = {
    contract.TARGET_CONTAINER: "no endpoint has containers that are asked directly; leave it out",
    contract.INFERENCE_COMPONENT: "no endpoint has inference components; leave it out",
}
"""Headers that ask for what no endpoint of ours has."""


def of_headers() -> list[dict[str, Any]]:
    """For all endpoints: headers that the runtime API does not allow.

    Envoy looks at a route's headers before its path, and most requests have few of these.
    """
    broken = [
        (
            _INVOCATIONS,
            {
                "name": name,
                "string_match": {"safe_regex": {"regex": limit.pattern}},
                "invert_match": True,  # a header that is not there breaks nothing
            },
            f"{name} must be {limit.wanted}.",
        )
        for name, limit in INVOKE.items()
    ]
    opening = f"{contract.SESSION_ID} must name a session; InvokeEndpoint opens one with NEW_SESSION."
    unknown = [
        (_INVOCATIONS, {"name": name, "present_match": True}, f"{name}: {why}.")
        for name, why in _NEVER.items()
    ]
    return [
        {
            "match": {"safe_regex": {"regex": path}, "headers": [wrong, of_value(":method", "POST")]},
            **direct(400, "ValidationError", why),
        }
        for path, wrong, why in [
            *broken,
            (_STREAMS, of_value(contract.SESSION_ID, "NEW_SESSION"), opening),
            *unknown,
        ]
    ]


def of_the_rest() -> list[dict[str, Any]]:
    """What no endpoint's route took: an unknown endpoint, a wrong method, a wrong path."""
    invocation = {"safe_regex": {"regex": _INVOCATIONS}}
    ways = "Call POST /endpoints/NAME/invocations, or POST /v2/models/NAME/infer."
    asynchronous = {"safe_regex": {"regex": "/endpoints/[^/]+/async-invocations"}}
    nobody = "No instance of the endpoint takes requests now."
    return [
        {
            "match": match({"prefix": "/async/endpoints/"}, of_value(ASYNC_MARK, "1")),
            **direct(503, "ServiceUnavailable", nobody),
        },
        {
            "match": match(asynchronous, of_value(":method", "POST")),
            "route": {"cluster": ASYNC_CLUSTER, "timeout": "60s"},
            **plain(),
        },
        {"match": match(invocation, of_value(":method", "POST")), **by_script("unknown_endpoint")},
        {
            "match": invocation,
            **direct(405, "UnknownOperationException", "This path answers POST only.", allow="POST"),
        },
        *_open_inference(),
        {"match": {"prefix": "/"}, **direct(404, "UnknownOperationException", ways)},
    ]


def _open_inference() -> list[dict[str, Any]]:
    """What the gateway itself answers of the Open Inference Protocol."""
    answers: dict[str, Mapping[str, Any]] = {
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v2": about.server(),
    }
    return [
        *(
            {"match": match(_with_slash(path), of_value(":method", "GET")), **said(200, body)}
            for path, body in answers.items()
        ),
        {
            "match": _with_slash("/v2(/health/(live|ready))?"),
            **said(405, {"error": "this path takes GET only"}, allow="GET"),
        },
        {"match": {"prefix": "/v2/"}, **said(404, {"error": "no such model; its name is the endpoint's"})},
    ]


def _with_slash(path: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": f"{path}/?"}}


def said(status: int, body: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """An answer in JSON."""
    named = {"content-type": "application/json", **headers}
    return {
        "direct_response": {"status": status, "body": {"inline_string": json.dumps(body)}},
        "response_headers_to_add": [header(name, value) for name, value in named.items()],
    }


def direct(status: int, code: str, message: str, **headers: str) -> dict[str, Any]:
    """An error of the runtime API."""
    return said(status, {"message": message}, **{"x-amzn-ErrorType": code, **headers})


def by_script(name: str) -> dict[str, Any]:
    """A 400 whose text names what was asked for; the script answers before the direct response would."""
    return {"direct_response": {"status": 400}, **script(name)}
