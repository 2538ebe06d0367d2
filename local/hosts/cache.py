"""The user's cache folder for files that are expensive to make. Imports no Docker, because
processes need it too.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

KEPT = 10
"""Number of folders of one kind that stay in the cache, the newest."""


def cache_folder() -> Path:
    """Directory for cached files that are expensive to create; created if missing."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "usher"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` against other processes of this user and machine."""
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep_newest(newest: Path) -> None:
    """Remove what is older than the newest folders beside this one in the cache."""
    others = [f for f in newest.parent.iterdir() if f.is_dir() and f != newest]
    for folder in sorted(others, key=lambda f: f.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)
