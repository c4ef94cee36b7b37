"""Messages about outcomes, in SageMaker's shape, to SNS topics, web addresses and whatever Apprise knows."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.asynchronous.backlog import Entry, Outcome
from serving.asynchronous.configuration import Configuration

SECONDS = 10.0
"""Time a receiver has to take a message."""
TEST: Mapping[str, Any] = {
    "eventVersion": "1.0",
    "eventSource": "aws:sagemaker",
    "eventName": "TestNotification",
}
"""Sent when an endpoint's settings are new; receivers ignore it."""
_TEXT_BYTES = 200 * 1024
"""Longest answer, as JSON text, that SNS still takes."""

log = logging.getLogger("serving")


class NotTold(Exception):
    """The receiver did not take the message; the text says why."""


def message(entry: Entry, region: str) -> dict[str, Any]:
    """What is said about a decided request."""
    request, outcome = entry.request, entry.outcome
    if outcome is None:
        raise ValueError("only an outcome can be told")
    response: dict[str, Any] = {"contentType": outcome.content_type}
    if outcome.completed:
        response["outputLocation"] = request.output_location
    elif request.failure_location and outcome.staged:
        response["failureLocation"] = request.failure_location
    if outcome.answer is not None:
        response["responseBody"] = _body(outcome.answer)
    return {
        "awsRegion": region,
        "eventTime": _time(outcome.at),
        "receivedTime": _time(request.received),
        "invocationStatus": "Completed" if outcome.completed else "Failed",
        **({} if outcome.completed else {"failureReason": outcome.reason}),
        "requestParameters": {
            "contentType": request.content_type,
            "endpointName": request.endpoint,
            **({"inputLocation": request.input_location} if request.input_location else {}),
        },
        "responseParameters": response,
        "inferenceId": request.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def topic(outcome: Outcome | None, configuration: Configuration | None) -> str:
    """Who is to be told of an outcome; empty for nobody."""
    if configuration is None or outcome is None:
        return ""
    return configuration.success_topic if outcome.completed else configuration.error_topic


def region(address: str, environ: Mapping[str, str]) -> str:
    """The region that a message names: the topic's, or this machine's, or `local`."""
    if address.startswith("arn:"):
        return address.split(":")[3]
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "local"


async def send(address: str, content: Mapping[str, Any], configuration: Configuration) -> None:
    """Send one message.

    Raises:
        NotTold: it did not arrive.
    """
    try:
        async with asyncio.timeout(SECONDS * 2):
            if address.startswith("arn:"):
                await asyncio.to_thread(_publish, address, content, configuration.sns_endpoint_url)
            elif address.startswith("env:"):
                await asyncio.to_thread(_say, address.removeprefix("env:"), content)
            else:
                await _post(address, content)
    except TimeoutError as error:
        raise NotTold("the receiver did not answer in time") from error


async def _post(address: str, content: Mapping[str, Any]) -> None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=SECONDS)
    headers = {"content-type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                address, data=orjson.dumps(content), headers=headers, allow_redirects=False
            ) as reply,
        ):
            if not 200 <= reply.status < 300:
                raise NotTold(f"the receiver answered with status {reply.status}")
    except (aiohttp.ClientError, OSError) as error:
        raise NotTold(f"the receiver cannot be reached: {type(error).__name__}") from error


def _publish(arn: str, content: Mapping[str, Any], url: str) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    settings = Config(connect_timeout=5, read_timeout=SECONDS, retries={"total_max_attempts": 1})
    try:
        client = boto3.client("sns", region_name=region(arn, {}), endpoint_url=url or None, config=settings)
        try:
            client.publish(TopicArn=arn, Message=orjson.dumps(content).decode())
        finally:
            client.close()
    except (BotoCoreError, ClientError) as error:
        raise NotTold(f"SNS did not take the message: {error}") from error


def _say(variable: str, content: Mapping[str, Any]) -> None:
    """Through Apprise; its address is a secret and stands in no message."""
    import apprise

    messenger, address = apprise.Apprise(), os.environ.get(variable, "").strip()
    if not address:
        raise NotTold(f"set the environment variable {variable} to an Apprise URL")
    if not messenger.add(address):
        raise NotTold(f"{variable} does not hold an address that Apprise understands; correct it")
    good = content.get("invocationStatus") != "Failed"
    kind = apprise.NotifyType.SUCCESS if good else apprise.NotifyType.FAILURE
    try:
        told = messenger.notify(title=_title(content), body=_sentence(content), notify_type=kind)
    except Exception as error:  # a service's plugin may raise anything, and name the address
        raise NotTold(f"Apprise failed with {type(error).__name__}; check {variable}") from error
    if not told:
        raise NotTold(f"the service behind {variable} did not take the message")


def _title(content: Mapping[str, Any]) -> str:
    name = content.get("requestParameters", {}).get("endpointName")
    return f"Seaway: endpoint {name}" if name else "Seaway: test message"


def _sentence(content: Mapping[str, Any]) -> str:
    if content.get("eventName") == "TestNotification":
        return "Messages about asynchronous inference will arrive here."
    response, ident = content["responseParameters"], content["inferenceId"]
    if content["invocationStatus"] == "Completed":
        return f"Request {ident} is completed: {response['outputLocation']}"
    place = f" ({response['failureLocation']})" if "failureLocation" in response else ""
    return f"Request {ident} has failed: {content['failureReason']}{place}"


def _body(answer: bytes) -> dict[str, str]:
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        text = ""
    if (text or not answer) and len(orjson.dumps(text)) <= _TEXT_BYTES:
        return {"content": text, "encoding": "UTF-8"}
    return {"content": base64.b64encode(answer).decode(), "encoding": "BASE64"}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
