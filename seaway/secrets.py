"""Secrets that the platform makes for itself, once: files that only the owner may read."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def _token() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


ALWAYS: dict[str, Callable[[], str]] = {
    "webhook": _token,
    "control": _token,
    "webhook_key": _fernet_key,
    "mlflow_flask": _token,
}
"""Secrets of every installation and how they are made."""
WITH_AUTH: dict[str, Callable[[], str]] = {"mlflow_admin": _token}
"""Further secrets when MLflow asks for user and password."""


def ensure(home: Path, *, auth: bool) -> None:
    """Make the secrets that are missing. Existing ones are never replaced: databases depend on them."""
    folder = home / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, make in {**ALWAYS, **(WITH_AUTH if auth else {})}.items():
        if not (folder / name).exists():
            _write(folder / name, make())


def _write(file: Path, secret: str) -> None:
    """Complete or not at all, also when two processes do it at once: the first one wins."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as opened:
        opened.write(secret + "\n")
    try:
        os.link(temporary, file)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
