"""The base class of all jobs."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from chalicelib.contract.jobs import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from pydantic import BaseModel


class Job:
    """A piece of work that runs in a container of its own, at most once for each invocation.

    Its name towards the world is the class's name in snake case; the first line of its docstring
    is its summary. A subclass states what it needs and does its work in `run`.
    """

    cpu: ClassVar[int] = 256
    """ECS units it is given: 1024 is one core."""
    memory: ClassVar[int] = 256
    """MiB it is given. A job that needs more is killed."""
    timeout_seconds: ClassVar[int] = DEFAULT_TIMEOUT_SECONDS
    """How long it may run. Then it gets SIGTERM, and SIGKILL 8 s later."""
    priority: ClassVar[str] = "normal"
    """`critical`, `normal` or `low`, unless an invocation says otherwise."""
    queue_seconds: ClassVar[int] = 86_400
    """How long it may wait to be launched, unless an invocation says otherwise."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Environment variables of its container. No secrets: users of the job can read them."""
    secrets: ClassVar[Mapping[str, str]] = {}
    """Variables whose values are fetched when it starts: name to the ARN of a secret in Secrets
    Manager, or to the ARN or name of a parameter of the Parameter Store. `usher run` takes them
    from its own environment.
    """
    launch_type: ClassVar[str | None] = None
    """`EC2` or `FARGATE`; None leaves it to the deployment."""
    group: ClassVar[str | None] = None
    """The capacity group it belongs to; None means the default one of the deployment."""
    placement: ClassVar[Mapping[str, Any]] = {}
    """Where its containers go on EC2: `spread`, `binpack`, `constraints`, `affinity`,
    `anti_affinity`, `plugin`; see docs/placement.md.
    """
    Parameters: ClassVar["type[BaseModel] | None"] = None
    """A pydantic model of what an invocation may pass; None = nothing."""

    _tell: Callable[[float | None, str], None] | None = None

    def run(self, parameters: Any) -> Any:
        """Do the work. `parameters` is a `Parameters`, checked; None where there is none.

        What it returns is the invocation's result: JSON (or a pydantic model) of at most
        128 KiB. An exception fails the invocation.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run(self, parameters)")

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Say how far it is: 0 to 1 or None, and a few words (500 characters are kept).

        Never fails and never waits for the network. As often as you like: the newest one is
        passed on once a second. Outside a run, as in a test, it does nothing.
        """
        if self._tell is not None:
            self._tell(fraction, message)


_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def name_of(job: type[Job]) -> str:
    """The job's name: `MarketReport` is `market_report`, `ABReminder` is `ab_reminder`."""
    return snake_case(job.__name__)


def snake_case(name: str) -> str:
    """A class's name as a job's."""
    return _WORD_STARTS.sub("_", name).lower()
