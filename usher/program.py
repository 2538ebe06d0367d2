"""Turns the forked child of the main process into the job's program.

A forked process has a copy of its parent's memory, with all of its secrets. The child therefore
executes a new program, which gets its instructions by an unnamed file.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

_BEGIN = (
    "import sys; sys.path[:] = sys.argv.pop().split(sys.argv.pop());"
    " from usher.child import main; main()"
)


def child_order(job: str, parameters: Any, project: Path) -> int:
    """An unnamed file, open for reading, with the child's instructions; `usher.child.read_order`
    parses it.
    """
    data = json.dumps({"job": job, "parameters": parameters, "project": str(project)}).encode()
    descriptor = _nameless_file()
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def become_the_child(order: int, pipe: int, prepare: Iterable[Callable[[], None]]) -> NoReturn:
    """Call all of `prepare` and exec `usher.child`, with these two descriptors and no others of
    this process.

    Runs between fork and exec: it never returns.
    """
    try:
        os.setpgid(0, 0)
        for step in prepare:
            step()
        os.set_inheritable(order, True)
        os.set_inheritable(pipe, True)
        place = (os.pathsep, os.pathsep.join(sys.path))
        os.execv(  # noqa: S606 - our own interpreter
            sys.executable, [sys.executable, "-c", _BEGIN, str(order), str(pipe), *place]
        )
    except BaseException as error:  # noqa: BLE001 - of ours; the parent gets the exit code
        os.write(2, f"usher: the job's program did not start: {error!r}\n".encode())
    finally:
        os._exit(1)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("usher-order")
    path = f"/tmp/usher-order-{os.urandom(16).hex()}"  # noqa: S108 - unguessable, and removed at once
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return descriptor
