"""What the environment variables of a serving container ask for, as one checked value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving import contract
from serving.errors import Permanent

_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
_STRATEGIES = {"multirecord": "MULTI_RECORD", "singlerecord": "SINGLE_RECORD"}


class EnvironmentInvalid(Permanent):
    """A variable has a value that nobody can follow; the message names it and says what would do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a container shall serve."""

    port: int
    workers: int
    timeout: float
    """Seconds a request may take."""
    startup_timeout: float
    """Seconds until the user's application must be ready."""
    max_payload: float
    """Largest request body in MiB."""
    log_level: int
    use_nginx: bool
    multi_model: bool


def wanted(environ: Mapping[str, str], cores: int) -> Wanted:
    """Read the variables; `cores` is the default number of workers.

    Raises:
        EnvironmentInvalid: a value is unusable.
    """
    timeout = contract.TIMEOUT_SECONDS if environ.get(contract.TIMEOUT_SECONDS) else contract.TIMEOUT
    return Wanted(
        port=_whole(environ, contract.PORT, 8080, 1, 65535),
        workers=_whole(environ, contract.WORKERS, cores, 1, 1024),
        timeout=_number(environ, timeout, 60),
        startup_timeout=_number(environ, contract.STARTUP_TIMEOUT, 600),
        max_payload=_number(environ, contract.MAX_PAYLOAD, 25),
        log_level=_whole(environ, contract.LOG_LEVEL, 20, 0, 100),
        use_nginx=flag(environ, contract.USE_NGINX),
        multi_model=flag(environ, contract.MULTI_MODEL),
    )


def execution_parameters(environ: Mapping[str, str], workers: int) -> dict[str, object]:
    """The body of `GET /execution-parameters` for a batch transform job, where the user's code has none."""
    given = environ.get(contract.BATCH_STRATEGY, "MultiRecord")
    strategy = _STRATEGIES.get(given.replace("_", "").lower())
    if strategy is None:
        raise EnvironmentInvalid(
            f"{contract.BATCH_STRATEGY} is {given!r}; set it to MultiRecord or SingleRecord"
        )
    size = _number(environ, contract.MAX_PAYLOAD, 6)
    return {
        "MaxConcurrentTransforms": _whole(environ, contract.MAX_CONCURRENT_TRANSFORMS, workers, 1, 1024),
        "BatchStrategy": strategy,
        "MaxPayloadInMB": int(size) if size.is_integer() else size,
    }


def flag(environ: Mapping[str, str], name: str) -> bool:
    """A variable that says yes or no; no when it is not set.

    Raises:
        EnvironmentInvalid: it says neither.
    """
    text = environ.get(name, "").strip().lower()
    if text not in _TRUE | _FALSE:
        raise EnvironmentInvalid(f"{name} is {environ[name]!r}; set it to true or false")
    return text in _TRUE


def _whole(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise EnvironmentInvalid(f"{name} is {text!r}; set it to a whole number from {least} to {most}")
    return int(text)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise EnvironmentInvalid(f"{name} is {text!r}; set it to a positive number")
    return value
