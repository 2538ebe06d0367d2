"""The base class of all jobs."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chalicelib.contract.jobs import (
    DEFAULT_CPU,
    DEFAULT_MEMORY,
    DEFAULT_QUEUE_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
)

if TYPE_CHECKING:
    from pydantic import BaseModel


class Job:
    """Work that runs in a container of its own, at most once for each invocation.

    Its public name is the class's name in snake case; the first line of its docstring is its
    summary. A subclass declares its needs and does its work in `run`.
    """

    cpu: ClassVar[int] = DEFAULT_CPU
    """CPU units of ECS: 1024 is one core."""
    memory: ClassVar[int] = DEFAULT_MEMORY
    """Memory in MiB. A job that exceeds it is killed."""
    timeout_seconds: ClassVar[int] = DEFAULT_TIMEOUT_SECONDS
    """Maximum duration. Then it gets SIGTERM, and SIGKILL 8 s later."""
    priority: ClassVar[str] = "normal"
    """Default priority of invocations: `critical`, `normal` or `low`."""
    queue_seconds: ClassVar[int] = DEFAULT_QUEUE_SECONDS
    """Default maximum time for which an invocation waits to be launched."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Environment variables of its container. No secrets: users of the job can read them."""
    secrets: ClassVar[Mapping[str, str]] = {}
    """Variables whose values are fetched when it starts: name to the ARN of a secret in Secrets
    Manager, or to the ARN or name of a parameter of the Parameter Store. `usher run` reads them
    from its own environment."""
    launch_type: ClassVar[str | None] = None
    """`EC2` or `FARGATE`; None = the deployment's default."""
    group: ClassVar[str | None] = None
    """Its capacity group; None = the deployment's default group."""
    placement: ClassVar[Mapping[str, Any]] = {}
    """Placement of its containers on EC2: `spread`, `binpack`, `constraints`, `affinity`,
    `anti_affinity`, `plugin`; see docs/placement.md."""
    task_role: ClassVar[str | None] = None
    """Its containers have the role `usher-STAGE-job-` and this name; None = no rights on AWS."""
    subnets: ClassVar[Sequence[str]] = ()
    """Subnets of its containers, instead of the deployment's; Fargate only."""
    security_groups: ClassVar[Sequence[str]] = ()
    """Security groups of its containers, instead of the deployment's; Fargate only."""
    Parameters: ClassVar["type[BaseModel] | None"] = None
    """A pydantic model of an invocation's parameters; None = no parameters."""

    _tell: Callable[[float | None, str], None] | None = None

    def run(self, parameters: Any) -> Any:
        """Do the work. `parameters` is a valid `Parameters`; None if the job has none.

        The return value is the invocation's result: JSON (or a pydantic model) of at most 128 KiB.
        An exception fails the invocation.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run(self, parameters)")

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Report progress: 0 to 1 or None, and a short text (500 characters are kept).

        Never fails and never waits for the network. It may be called any number of times: the
        newest report is sent once a second. Outside a run, as in a test, it has no effect.
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
