"""Write jobs, run them locally, invoke them from elsewhere; follow feeds.

    from usher import Job

    class Greeting(Job):
        def run(self, parameters):
            return "hello"

    id = usher.invoke("greeting")
    usher.wait(id).result

Modules are imported when they are first used, because the container's main process needs none of
them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usher.answers import Invocation, JobInfo, LogLine, LogPage, Progress, Schedule, Usage
    from usher.calls import invoke, kill, logs, wait
    from usher.client import Client
    from usher.errors import (
        AnswerError,
        DescriptionError,
        ProjectError,
        SessionEndedError,
        UnreachableError,
        UsherError,
        WaitTimeoutError,
    )
    from usher.job import Job
    from usher.sessions import dispatch, follow

VERSION = "0.1.0"
"""Version of this package; pyproject.toml has the same."""

__all__ = [
    "AnswerError",
    "Client",
    "DescriptionError",
    "Invocation",
    "Job",
    "JobInfo",
    "LogLine",
    "LogPage",
    "Progress",
    "ProjectError",
    "Schedule",
    "SessionEndedError",
    "UnreachableError",
    "Usage",
    "UsherError",
    "WaitTimeoutError",
    "dispatch",
    "follow",
    "invoke",
    "kill",
    "logs",
    "wait",
]

_HOMES = {
    "usher.answers": (
        "Invocation",
        "JobInfo",
        "LogLine",
        "LogPage",
        "Progress",
        "Schedule",
        "Usage",
    ),
    "usher.calls": ("invoke", "kill", "logs", "wait"),
    "usher.client": ("Client",),
    "usher.errors": (
        "AnswerError",
        "DescriptionError",
        "ProjectError",
        "SessionEndedError",
        "UnreachableError",
        "UsherError",
        "WaitTimeoutError",
    ),
    "usher.job": ("Job",),
    "usher.sessions": ("dispatch", "follow"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'usher' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
