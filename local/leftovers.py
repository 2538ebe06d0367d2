"""One directory for each run of the embedded cloud, and the cleanup of killed runs.

A run holds a lock on its directory while its process lives; the kernel releases it when the process
ends. A directory without a lock belongs to a dead run: its processes and containers have the run's
id and are removed by the next start. Live runs are never touched.
"""

import fcntl
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

Remover = Callable[[Mapping[str, Any]], int | None]
"""Removes the objects of one kind of a dead run; returns their number, or None if that is not
possible now, so that the run must be kept. Receives the run's facts, at least its id as `run`."""

_LOCK = "lock"
_FACTS = "run.json"
_REMOVALS = 40
_REMOVAL_PAUSE_SECONDS = 0.05

log = logging.getLogger(__name__)


def runs_folder() -> Path:
    """The directory of this user's runs; others cannot read it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "usher"
    return Path(tempfile.gettempdir()) / f"usher-{os.getuid()}"


class RunFolder:
    """The folder of a run of this process: logs, and what others need to find the run."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, base: Path) -> Self:
        """Make and lock a folder for a new run."""
        with _exclusive(base):
            path = base / f"{os.getpid()}-{secrets.token_hex(4)}"
            path.mkdir(mode=0o700)
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (path / "logs").mkdir()
        run = cls(path, lock)
        run.tell()
        return run

    @property
    def run_id(self) -> str:
        """The id of this run, which marks all of its objects."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Directory for the output of this run's processes."""
        return self.path / "logs"

    def tell(self, **facts: Any) -> None:
        """Write the run's facts for others, atomically."""
        text = json.dumps({"run": self.run_id, "pid": os.getpid(), **facts})
        draft = self.path / (_FACTS + ".new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.path / _FACTS)

    def remove(self) -> None:
        """Remove the folder, and the folder of all runs if this was the last one."""
        _remove_tree(self.path)
        os.close(self._lock)
        base = self.path.parent
        if base.is_dir():
            with _exclusive(base):
                if [entry.name for entry in base.iterdir()] == [_LOCK]:
                    (base / _LOCK).unlink()
                    base.rmdir()


def _remove_tree(path: Path) -> None:
    """Remove a directory into which an ending process may still write; reports if it stays."""
    for attempt in range(_REMOVALS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not path.exists():
                return
        except OSError as error:
            if attempt + 1 == _REMOVALS:
                log.warning("%s stays, the next start removes it: %s", path, error)
        else:
            return
        time.sleep(_REMOVAL_PAUSE_SECONDS)


def live_runs(base: Path) -> list[dict[str, Any]]:
    """The facts of this user's live runs, the youngest first."""
    if not base.is_dir():
        return []
    found = []
    for folder in _folders(base):
        with suppress(FileNotFoundError):  # it ended in this moment
            if _is_held(folder):
                changed_at = (folder / _FACTS).stat().st_mtime
                found.append((changed_at, _facts_of(folder)))
    return [facts for _, facts in sorted(found, key=lambda pair: pair[0], reverse=True)]


def remove_dead_runs(base: Path, removers: Mapping[str, Remover]) -> str | None:
    """Remove the objects of dead runs; returns a one-line report, None if there were none.

    `removers` by the name of what they remove ("processes"). A directory is removed last, so that
    an interrupted start leaves the rest to the next one; it stays while something of its run cannot
    be removed.
    """
    if not base.is_dir():
        return None
    counts = dict.fromkeys(removers, 0)
    dead = kept = 0
    with _exclusive(base):
        for folder in _folders(base):
            if _is_held(folder):
                continue
            facts = {"run": folder.name, **_facts_of(folder)}
            found = {kind: remove(facts) for kind, remove in removers.items()}
            for kind, count in found.items():
                counts[kind] += count or 0
            if None in found.values():
                kept += 1
            else:
                dead += 1
                shutil.rmtree(folder)
    left = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    answer = [f"removed what {_dead_runs(dead)} left behind: {left}"] if dead else []
    if kept:
        answer.append(f"{_dead_runs(kept)} left something that cannot be removed now; later")
    return "; ".join(answer) or None


def _dead_runs(count: int) -> str:
    return f"{count} dead run{'s' if count > 1 else ''}"


def _folders(base: Path) -> list[Path]:
    return [entry for entry in sorted(base.iterdir()) if entry.is_dir()]


def _facts_of(folder: Path) -> dict[str, Any]:
    """The run's facts; empty if it ended before it wrote them."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_held(folder: Path) -> bool:
    """Whether a live process holds the folder."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _exclusive(base: Path) -> Iterator[None]:
    """Hold the lock of all runs of this user: no other process creates or removes a run
    meanwhile.
    """
    while True:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if base.stat().st_uid != os.getuid():
            raise PermissionError(f"{base} belongs to another user")
        try:
            lock = os.open(base / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the last run went away in this moment, and the folder with it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_same_file(lock, base / _LOCK):
                yield
                return
        finally:
            os.close(lock)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
