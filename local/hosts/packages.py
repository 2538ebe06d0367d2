"""Installs what a requirements.txt names, for images that run as processes of this machine.

Docker installs packages into an image; the process runtime has no image, so they go into a folder
of the cache, one for each content of the file and each Python, and from there into PYTHONPATH.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from local.hosts.cache import cache_folder, keep_newest, locked
from local.hosts.images import ImageSource, cannot_pull

INSTALL_SECONDS = 600.0
_PIP = (sys.executable, "-m", "pip")
_QUIET = ("--quiet", "--disable-pip-version-check", "--no-input")


class Packages:
    """The packages of the images of one run. Thread-safe."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._known: dict[str, Path | None] = {}
        self._lock = threading.Lock()

    def folder_for(self, source: ImageSource) -> Path | None:
        """A directory with the packages of the image's own requirements.txt, installed if they are
        missing; None if there is no such file, or this Python has all of them.

        Raises CannotPullImageError with the end of pip's output.
        """
        file = source.context / "requirements.txt"
        if not source.requirements or file not in source.requirements or not file.is_file():
            return None
        key = _key(file)
        with self._lock:
            if key not in self._known:
                self._known[key] = None if _are_here(file) else self._install(source, file, key)
            return self._known[key]

    def _install(self, source: ImageSource, file: Path, key: str) -> Path:
        folder = cache_folder() / "packages" / key
        with locked(f"packages-{key}"):
            if not folder.is_dir():
                self._on_progress(f"installing the packages of {file}")
                partial = folder.with_name(f"{key}.partial")
                shutil.rmtree(partial, ignore_errors=True)
                try:
                    _pip("install", "--target", str(partial), "--requirement", str(file))
                except subprocess.CalledProcessError as error:
                    shutil.rmtree(partial, ignore_errors=True)
                    output = " | ".join(error.stderr.strip().splitlines()[-3:])
                    raise cannot_pull(
                        source.name, f"{file} cannot be installed: {output}"
                    ) from error
                except subprocess.TimeoutExpired as error:
                    shutil.rmtree(partial, ignore_errors=True)
                    why = f"{file}: pip took longer than {INSTALL_SECONDS:.0f} s"
                    raise cannot_pull(source.name, why) from error
                partial.mkdir(parents=True, exist_ok=True)  # a file without packages
                partial.rename(folder)
                keep_newest(folder)
        return folder


def _key(file: Path) -> str:
    python = f"{sys.implementation.cache_tag}\0".encode()
    return hashlib.sha256(python + file.read_bytes()).hexdigest()[:16]


def _are_here(file: Path) -> bool:
    """Whether this Python has everything: pip would have nothing to fetch."""
    try:
        report = _pip(
            "install", "--dry-run", "--no-index", "--report=-", "--requirement", str(file)
        )
    except subprocess.CalledProcessError:
        return False
    return not json.loads(report)["install"]


def _pip(command: str, *arguments: str) -> str:
    """The stdout of pip. Raises CalledProcessError and TimeoutExpired."""
    done = subprocess.run(
        [*_PIP, command, *_QUIET, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    return done.stdout
