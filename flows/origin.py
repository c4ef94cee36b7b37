"""Where a build comes from: commit and lock file of the project's repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

from steps.job import digest_of


def git_commit(folder: Path) -> str:
    """The commit of the folder's repository, with `-dirty` when files were changed; empty outside of one."""
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return ""
    return f"{head}-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no", ".") else head


def lock_hash(folder: Path) -> str:
    """sha256 of the nearest `uv.lock` at or above the folder; empty without one."""
    for place in (folder, *folder.parents):
        if (place / "uv.lock").exists():
            return digest_of(place / "uv.lock")
    return ""


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
