"""A local program, and how supervisord's configuration spells it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deploy.errors import Permanent
from deploy.tether import QUOTED

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_VALUE = re.compile(r"[ -~]*")
_UNSAFE_IN_VALUE = re.compile(r"[\"';#\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TETHER = Path(__file__).with_name("tether.py")


class ProgramRefused(Permanent):
    """supervisord cannot run the program as described."""


@dataclass(frozen=True, slots=True)
class Program:
    """A process that supervisord keeps alive."""

    name: str
    """Letters, digits, `.`, `_` and `-`; unique in the home."""
    command: tuple[str, ...]
    """The executable and its arguments; no shell is involved."""
    directory: Path
    """Working folder; must exist."""
    log: Path
    """Standard output and errors, rotated at 10 MB, three old files kept."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set on top of supervisord's own environment."""
    priority: int = 999
    """Low starts first and stops last."""
    start_seconds: int = 1
    """A process that lives shorter has failed to start."""
    start_retries: int = 3
    """Failed starts, with growing pauses, before the state is FATAL."""
    stop_wait_seconds: int = 30
    """After the stop signal and this long the process group is killed."""
    stop_signal: str = "TERM"
    """Sent to the process alone; it answers for its children."""


def render(program: Program) -> str:
    """The program's section of supervisord's configuration.

    Raises:
        ProgramRefused: the name, a variable's name or an argument cannot be written there.
    """
    if not _NAME.fullmatch(program.name):
        raise ProgramRefused(f"program name {program.name!r} may only hold letters, digits, '.', '_' and '-'")
    tether = (sys.executable, "-I", "-S", str(_TETHER))
    lines = {
        "command": _command((*tether, *program.command)),
        "directory": percent(line(str(program.directory))),
        "environment": _environment(program.environment),
        "priority": program.priority,
        "autostart": "true",
        "autorestart": "true",
        "startsecs": program.start_seconds,
        "startretries": program.start_retries,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_wait_seconds,
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": percent(percent(line(str(program.log)))),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 3,
    }
    body = "".join(f"{key}={value}\n" for key, value in lines.items() if value != "")
    return f"[program:{program.name}]\n{body}"


def line(text: str) -> str:
    """A path that fits on a line of the configuration.

    Raises:
        ProgramRefused: it would be cut or read as a comment.
    """
    if _CONTROL.search(text) or re.search(r"\s[;#]", text) or text != text.strip():
        raise ProgramRefused(f"path {text!r} holds characters that supervisord cannot read; choose another")
    return text


def percent(text: str) -> str:
    """Safe from supervisord's `%(name)s` expansion."""
    return text.replace("%", "%%")


def _command(arguments: tuple[str, ...]) -> str:
    for argument in arguments:
        if _CONTROL.search(argument):
            raise ProgramRefused(f"argument {argument!r} holds a control character; use a file")
    return percent(" ".join(_word(argument) for argument in arguments))


def _word(argument: str) -> str:
    """Quoted for supervisord; a quote goes before `;` and `#`, which after a blank would start a comment."""
    word = shlex.quote(argument)
    return re.sub(r"([;#])", r"''\1''", word) if word.startswith("'") else word


def _environment(environment: Mapping[str, str]) -> str:
    """`KEY="value",...`; values that do not fit are percent-encoded, and the tether decodes them."""
    pairs, quoted = {}, []
    for name, value in sorted(environment.items()):
        if not _VARIABLE.fullmatch(name) or "\x00" in value:
            raise ProgramRefused(f"variable {name!r} has a name or value that no process can have")
        if _PLAIN_VALUE.fullmatch(value) and not _UNSAFE_IN_VALUE.search(value):
            pairs[name] = value
        else:
            pairs[name] = quote(value, safe="/:=,@ ")
            quoted.append(name)
    if quoted:
        pairs[QUOTED] = " ".join(quoted)
    return ",".join(f'{name}="{percent(value)}"' for name, value in pairs.items())
