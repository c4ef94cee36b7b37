"""What an asynchronous endpoint is asked to do: one strict JSON file for each, read again when it changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from serving.asynchronous.errors import ConfigurationInvalid

SUCCESS, ERROR = "SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"
"""Values of `include_inference_response_in`."""
CONCURRENCY = 4
"""Requests in process at once, for each instance, where the file does not say."""

log = logging.getLogger("serving")

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9._-]{0,62}(/[^\x00-\x1f]*)?")
_TOPIC = re.compile(
    r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}|https?://[^\s/]+\S*|env:[A-Za-z_]\w*"
)
_URL = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings; their names are those of the JSON file."""

    output_path: str
    """`s3://bucket/prefix` below which answers are put."""
    failure_path: str = ""
    """The same for what went wrong; failures leave no object when it is empty."""
    max_concurrent_invocations_per_instance: int = CONCURRENCY
    """Requests sent to the endpoint at once, for each of its instances."""
    instance_count: int = 1
    """Its instances; whoever scales the endpoint writes the new number. 0: the next request calls for one."""
    success_topic: str = ""
    """Who is told of answers: an SNS topic's ARN, an `http(s)://` address, `env:NAME` of an Apprise URL."""
    error_topic: str = ""
    """Who is told of failures."""
    include_inference_response_in: tuple[str, ...] = ()
    """Messages that carry short answers: `SUCCESS` and `ERROR`."""
    kms_key_id: str = ""
    """KMS key for objects in S3."""
    s3_endpoint_url: str = ""
    """Address of an S3 store other than Amazon's; empty for boto3's own choice."""
    sns_endpoint_url: str = ""
    """The same for SNS."""
    revision: str = ""
    """Names the update of the endpoint, each of which is announced."""
    digest: str = field(default="", compare=False)
    """Names the settings that are announced."""

    @property
    def concurrency(self) -> int:
        """Requests sent to the endpoint at once; one asks whether there is an instance again."""
        return max(1, self.max_concurrent_invocations_per_instance * self.instance_count)

    @property
    def topics(self) -> tuple[str, ...]:
        """Everybody who is told something, once each."""
        return tuple(dict.fromkeys(topic for topic in (self.success_topic, self.error_topic) if topic))


def parse(content: bytes, name: str) -> Configuration:
    """The settings in a file's content; `name` stands in messages.

    Raises:
        ConfigurationInvalid: the message names the entry at fault.
    """
    try:
        entries = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ConfigurationInvalid(f"{name} is no JSON: {error}") from error
    if not isinstance(entries, dict):
        raise ConfigurationInvalid(f"{name} must hold a JSON object")
    if unknown := sorted(set(entries) - set(_CHECKS)):
        raise ConfigurationInvalid(
            f"{name} has no entry {unknown[0]!r}; known are {', '.join(sorted(_CHECKS))}"
        )
    if "output_path" not in entries:
        raise ConfigurationInvalid(f"{name} needs output_path, such as s3://bucket/answers")
    values = {key: _CHECKS[key](f"{name}: {key}", value) for key, value in entries.items()}
    return Configuration(**values, digest=_digest(entries))


def _digest(entries: Mapping[str, Any]) -> str:
    """Names what is announced: where updates have names, another number of instances is none."""
    left_out = {"instance_count"} if entries.get("revision") else set()
    announced = {name: value for name, value in entries.items() if name not in left_out}
    return sha256(orjson.dumps(announced, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _text(pattern: re.Pattern[str], wanted: str) -> Callable[[str, Any], str]:
    def check(where: str, value: Any) -> str:
        if not isinstance(value, str) or (value and not pattern.fullmatch(value)):
            raise ConfigurationInvalid(f"{where} is {value!r}; set it to {wanted}")
        return value

    return check


def _path(where: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > 512 or not _S3.fullmatch(value):
        raise ConfigurationInvalid(
            f"{where} is {value!r}; set it to s3://bucket/prefix, at most 512 characters"
        )
    if ".." in value.split("/"):
        raise ConfigurationInvalid(f"{where} is {value!r}; write it without ..")
    return value


def _count(least: int, most: int) -> Callable[[str, Any], int]:
    def check(where: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigurationInvalid(
                f"{where} is {value!r}; set it to a whole number from {least} to {most}"
            )
        return value

    return check


def _included(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or any(one not in (SUCCESS, ERROR) for one in value):
        raise ConfigurationInvalid(f"{where} is {value!r}; set it to a list of {SUCCESS} and {ERROR}")
    return tuple(value)


_TOPICS = _text(
    _TOPIC, "an SNS topic's ARN, an http(s):// address, or env:NAME of a variable with an Apprise URL"
)
_URLS = _text(_URL, "an http(s):// address")
_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "output_path": _path,
    "failure_path": lambda where, value: value if value == "" else _path(where, value),
    "max_concurrent_invocations_per_instance": _count(1, 1000),
    "instance_count": _count(0, 1000),
    "revision": _text(re.compile(r"[\x20-\x7e]{1,256}"), "at most 256 printable characters"),
    "success_topic": _TOPICS,
    "error_topic": _TOPICS,
    "include_inference_response_in": _included,
    "kms_key_id": _text(re.compile(r"[\w:/-]{1,2048}"), "a key's id, alias or ARN"),
    "s3_endpoint_url": _URLS,
    "sns_endpoint_url": _URLS,
}


class Configurations:
    """The files of a folder, one for each endpoint: `{endpoint}.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, ...], Configuration]] = {}
        self._good: dict[str, Configuration] = {}
        self._said: dict[str, str] = {}

    def find(self, endpoint: str) -> Configuration | None:
        """The endpoint's settings as they are now; None when it has none.

        Raises:
            ConfigurationInvalid: the file cannot be followed.
        """
        path = self._folder / f"{endpoint}.json"
        try:
            status = path.stat()
            mark = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._read.get(endpoint)
            if known is None or known[0] != mark:
                self._read[endpoint] = known = (mark, parse(path.read_bytes(), path.name))
        except FileNotFoundError:
            self._read.pop(endpoint, None)
            return None
        except OSError as error:
            raise ConfigurationInvalid(f"{path.name} cannot be read: {error.strerror}") from error
        return known[1]

    def last(self, endpoint: str) -> Configuration | None:
        """The newest settings that can be followed: a request outlives the file it was taken under."""
        try:
            found = self.find(endpoint)
        except ConfigurationInvalid as error:
            found = None
            if self._said.get(endpoint) != str(error):  # once for each mistake, not at each look
                log.error("%s; what was known before stays in force", error)  # noqa: TRY400 - said
                self._said[endpoint] = str(error)
        if found is not None:
            self._good[endpoint] = found
        return self._good.get(endpoint)

    def names(self) -> list[str]:
        """Endpoints that have a file."""
        return sorted(path.stem for path in self._folder.glob("*.json"))
