"""Prints the output of session apps' containers on the developer's terminal."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from chalicelib.sessions.reaping import NOT_READY
from local.aws.ecs.model import StopCode, Task

READ_BYTES = 256 * 1024
"""Bytes read of a file at a time: a container that prints without end does not delay others."""

_FILE = re.compile(r"(?P<task>[0-9a-f]{32})-.+\.log")
_ROUTINE = re.compile(r"\S+ \S+ (INFO|DEBUG) session=\S+ ")
_LOGGED = re.compile(r"\S+ \S+ (?P<level>[A-Z]+) session=(?P<session>\S+) (?P<text>.*)")


class ContainerOutput:
    """The files of a run, each read on where the last look ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, int] = {}

    def new_lines(self) -> Iterator[str]:
        """Whole lines that came since the last call, each with the beginning of its task's id."""
        for path in sorted(self._folder.rglob("*.log")):
            found = _FILE.fullmatch(path.name)
            if found is not None:
                for line in self._lines_of(path):
                    yield f"[{found['task'][:8]}] {line}"

    def _lines_of(self, path: Path) -> Iterator[str]:
        place = self._places.get(path, 0)
        with path.open("rb") as file:
            file.seek(place)
            data = file.read(READ_BYTES)
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == READ_BYTES:
            whole = len(data)  # a longer line is split
        self._places[path] = place + whole
        yield from data[:whole].decode("utf-8", "replace").splitlines()


class TaskEnds:
    """Reports the end of each task once, if it did not end as sessions do."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def new_lines(self, tasks: Iterable[Task]) -> Iterator[str]:
        """A line for each of `tasks` that failed since the last call."""
        for task in tasks:
            if not task.is_stopped or task.id in self._seen:
                continue
            self._seen.add(task.id)
            if task.stopped_reason == NOT_READY:
                yield f"[{task.id[:8]}] ended: {NOT_READY}: it did not report `ready`"
                continue
            for container in task.containers:
                code = container.exit_code
                asked = task.stop_code is StopCode.USER_INITIATED
                if container.reason or (code != 0 and not asked):
                    how = f"exit code {code}" if code is not None else "it was never started"
                    why = container.reason or task.stopped_reason
                    yield f"[{task.id[:8]}] ended: {how}; {why}"


def show_lines(lines: Iterator[str], show: Callable[[str], None]) -> None:
    """Show what the app printed, and warnings and errors of its container; not its routine."""
    for line in lines:
        task, _, text = line.partition(" ")
        if _ROUTINE.match(text):
            continue
        logged = _LOGGED.fullmatch(text)
        show(f"{task} {logged['level'].lower()}: {logged['text']}" if logged else line)
