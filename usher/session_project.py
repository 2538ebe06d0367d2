"""A directory with session apps: its apps.toml, and immutable copies of it."""

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from usher.docker import LEFT_OUT
from usher.errors import ProjectError

APPS_FILE = "apps.toml"
SESSION_IMAGE = "usher-session"
KEPT = 10
"""Number of snapshots of one directory in the cache; those deployed last are kept."""
_CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis")


@dataclass(frozen=True)
class SessionProject:
    """The session apps of a directory: the tables of apps.toml by name."""

    folder: Path
    apps: Mapping[str, Mapping[str, Any]]

    def chosen(self, names: list[str]) -> dict[str, Mapping[str, Any]]:
        """The apps with these names, or all. Raises ProjectError."""
        if missing := sorted(set(names) - set(self.apps)):
            raise ProjectError(f"nothing was deployed: there is no app {', '.join(missing)}")
        return {name: self.apps[name] for name in (names or self.apps)}


def find_session_project(folder: Path) -> SessionProject | None:
    """The session apps of `folder`; None if it has no apps.toml. Raises ProjectError."""
    folder = folder.resolve()
    file = folder / APPS_FILE
    if not file.is_file():
        return None
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise ProjectError(f"{file}: too many levels") from None
    except (OSError, ValueError) as error:
        raise ProjectError(f"{file}: {error}") from error
    apps = document.get("apps")
    if not isinstance(apps, dict) or not all(isinstance(table, dict) for table in apps.values()):
        raise ProjectError(f"{file} has no [apps.NAME] table")
    return SessionProject(folder, apps)


def description_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """The description to register: an app's table without the image, which is a separate
    parameter.
    """
    return {key: value for key, value in table.items() if key != "image"}


def snapshot(folder: Path) -> Path:
    """A copy of `folder` in the cache, the same one for the same content.

    A revision that the embedded cloud runs from such a copy does not change afterwards, and a
    rollback restores it. Raises ProjectError.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    known_as = f"{folder.name}-{sha256(str(folder).encode()).hexdigest()[:8]}"
    copies = home / "usher" / "deployed" / known_as
    copy = copies / content_digest(folder)
    if not copy.is_dir():
        partial = copies / f"{copy.name}.partial-{os.getpid()}"
        ignore = shutil.ignore_patterns(*LEFT_OUT, *_CACHES)
        shutil.copytree(folder, partial, ignore=ignore, symlinks=True)
        try:
            partial.rename(copy)
        except OSError:  # another process created it first
            shutil.rmtree(partial)
    copy.touch()
    found = sorted(copies.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in found[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return copy


def content_digest(folder: Path) -> str:
    """A hash of a snapshot's files: names, contents, and executable bits.

    Raises ProjectError for other kinds of files: reading a pipe would not end.
    """
    digest = sha256()
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {*LEFT_OUT, *_CACHES})
        for name in sorted(files):
            path = Path(root) / name
            if not path.is_symlink() and not path.is_file():
                raise ProjectError(f"{path} is no file, folder or link")
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            runs = not path.is_symlink() and bool(path.stat().st_mode & 0o100)
            head = (
                f"{path.relative_to(folder)}\0{int(path.is_symlink())}{int(runs)}{len(content)}\0"
            )
            digest.update(head.encode() + content)
    return digest.hexdigest()[:16]
