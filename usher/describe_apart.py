"""Describes a job in a separate process.

`usher run` does not import the job itself: threads that a module starts at import would not survive
the fork, and on ECS they are started after it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from usher.discovery import find_job
from usher.errors import ProjectError


def describe_apart(project: Path, name: str) -> dict[str, Any]:
    """The description of the project's job `name`. Raises ProjectError, as `find_job` does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _tell(project, name, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    os.waitpid(pid, 0)
    if not output:
        raise ProjectError(f"{name}: importing its module ended the process")
    document: dict[str, Any] = json.loads(output)
    if "error" in document:
        raise ProjectError(document["error"])
    return document


def _tell(project: Path, name: str, pipe: int) -> NoReturn:
    try:
        from usher.description import describe

        document = describe(find_job(project, name))
    except ProjectError as error:
        document = {"error": str(error)}
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(pipe, "wb") as file:
        file.write(json.dumps(document).encode())
    os._exit(0)
