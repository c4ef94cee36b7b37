"""Whether a call is one that InvokeEndpointAsync allows, and where its answer will be; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from serving.asynchronous.configuration import Configuration
from serving.asynchronous.errors import Invalid
from serving.contract import CUSTOM_ATTRIBUTES, INFERENCE_ID
from serving.limits import INVOKE, TEXT

CONTENT_TYPE = "x-amzn-sagemaker-content-type"
ACCEPT = "x-amzn-sagemaker-accept"
INPUT_LOCATION = "x-amzn-sagemaker-inputlocation"
EXTENSION = "x-amzn-sagemaker-s3outputpathextension"
FILENAME = "x-amzn-sagemaker-filename"
TTL = "x-amzn-sagemaker-requestttlseconds"
TIMEOUT = "x-amzn-sagemaker-invocationtimeoutseconds"
CALL = "amz-sdk-invocation-id"
"""The same on every attempt that an AWS client makes at one call."""
INLINE_BYTES = 128_000
"""Longest body of a call."""
INPUT_BYTES = 1024**3
"""Longest input in the object store."""

_ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_LOCATION = re.compile(r"(https|s3)://([^/]+)/?(.*)")
_S3_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?s3(?:\.dualstack)?(?:[.-][a-z]{2}(?:-[a-z]+)+-\d)?"
    r"\.amazonaws\.com(?:\.cn)?"
)
"""With the bucket in front, or in the path."""
_CALLED = re.compile(r"[\x21-\x7e]{1,64}")
_PATTERNS = {
    **{
        header: (re.compile(limit.pattern), limit.wanted)
        for header, limit in {
            CONTENT_TYPE: TEXT,
            ACCEPT: TEXT,
            CUSTOM_ATTRIBUTES: INVOKE[CUSTOM_ATTRIBUTES],
            INFERENCE_ID: INVOKE[INFERENCE_ID],
        }.items()
    },
    INPUT_LOCATION: (
        re.compile(r"(?=[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}$)" + _LOCATION.pattern),
        "s3://bucket/key in UTF-8, at most 1024 characters",
    ),
    EXTENSION: (
        re.compile(r"(?=.{1,512}$)(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+"),
        "1 to 512 of letters, digits and !_.*'()/-",
    ),
    FILENAME: (
        re.compile(r"(?=.{1,32}$)(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*"),
        "1 to 32 letters, digits, - and _, with at most one dot",
    ),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request as the queue keeps it. Times are seconds since 1970."""

    id: str
    """Ours; names the answer."""
    endpoint: str
    inference_id: str
    """The caller's, or ours."""
    input_location: str
    """Empty when `body` is the input."""
    body: bytes
    content_type: str
    accept: str
    custom_attributes: str
    output_location: str
    failure_location: str
    """Empty when failures leave no object."""
    received: float
    expires: float
    """When it has waited too long."""
    timeout: int
    """Seconds it may take once it is begun."""
    call: str = ""
    """The same for a call that a client repeats; empty when the client does not say."""


def name(endpoint: str) -> str:
    """The endpoint's name, if it is one.

    Raises:
        Invalid: it is none.
    """
    if len(endpoint) > 63 or not _ENDPOINT.fullmatch(endpoint):
        raise Invalid("the endpoint name must be 1 to 63 letters, digits and single hyphens; correct it")
    return endpoint


def admit(
    endpoint: str,
    headers: Mapping[str, str],
    body: bytes,
    configuration: Configuration,
    now: float,
    ident: str,
) -> Accepted:
    """The request a call asks for.

    Args:
        endpoint: a checked name.
        headers: names in lower case.
        body: empty when the input is in the object store.
        configuration: the endpoint's.
        now: seconds since 1970.
        ident: a new id.

    Raises:
        Invalid: the API does not allow the call.
    """
    for header, (pattern, wanted) in _PATTERNS.items():
        if header in headers and not pattern.fullmatch(headers[header]):
            raise Invalid(f"{header} must be {wanted}")
    location = _in_s3(headers.get(INPUT_LOCATION, ""))
    _one_input(location, body)
    extension, file = _extension(headers.get(EXTENSION, "")), headers.get(FILENAME, f"{ident}.out")
    failure = f"{file.removesuffix('.out')}-error.out"
    return Accepted(
        id=ident,
        endpoint=endpoint,
        inference_id=headers.get(INFERENCE_ID, ident),
        input_location=location,
        body=body,
        content_type=headers.get(CONTENT_TYPE, ""),
        accept=headers.get(ACCEPT, ""),
        custom_attributes=headers.get(CUSTOM_ATTRIBUTES, ""),
        output_location=_join(configuration.output_path, extension, file),
        failure_location=_join(configuration.failure_path, extension, failure),
        received=now,
        expires=now + _seconds(headers, TTL, 21600, 60, 21600),
        timeout=_seconds(headers, TIMEOUT, 900, 1, 3600),
        call=found[0] if (found := _CALLED.match(headers.get(CALL, ""))) else "",
    )


def _one_input(location: str, body: bytes) -> None:
    if bool(location) == bool(body):
        raise Invalid("give either InputLocation or Body, not both and not neither")
    if len(body) > INLINE_BYTES:
        raise Invalid(f"the body is longer than {INLINE_BYTES} bytes; put it into the object store instead")
    if location and not location.removeprefix("s3://").partition("/")[2]:
        raise Invalid("InputLocation names a bucket but no key; write s3://bucket/key")


def _in_s3(location: str) -> str:
    """`s3://bucket/key` of an object that is named by one of S3's own addresses; others stay as they are.

    Raises:
        Invalid: another address by https, or one that is signed for somebody.
    """
    if not location.startswith("https:"):
        return location
    refused = Invalid(
        "InputLocation by https:// must be an object of S3 without a signature, such as "
        "https://bucket.s3.eu-west-1.amazonaws.com/key; write s3://bucket/key"
    )
    try:
        address = urlsplit(location)
        path = unquote(address.path.removeprefix("/"), errors="strict")
    except ValueError:
        raise refused from None
    found = _S3_HOST.fullmatch(address.netloc)
    if found is None or address.query or address.fragment:
        raise refused
    named = f"s3://{found['bucket']}/{path}" if found["bucket"] else f"s3://{path}"
    if not _PATTERNS[INPUT_LOCATION][0].fullmatch(named):
        raise refused
    return named


def _extension(text: str) -> str:
    if ".." in text.split("/"):
        raise Invalid(f"{EXTENSION} must not contain ..")
    return text.strip("/")


def _join(path: str, extension: str, file: str) -> str:
    if not path:
        return ""
    return "/".join(part for part in (path.rstrip("/"), extension, file) if part)


def _seconds(headers: Mapping[str, str], header: str, default: int, least: int, most: int) -> int:
    text = headers.get(header, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not least <= int(text) <= most:
        raise Invalid(f"{header} must be a whole number from {least} to {most}")
    return int(text)
