"""Gives start permits without a dispatcher, to the job of `usher run`."""

from collections.abc import Callable
from typing import Any

from chalicelib.contract.jobs import Outcome
from usher.child_messages import Progress
from usher.protocol import Ending, Settings, StartPermit, Usage

INVOCATION = "local"
REVISION = "0"


class LocalCoordinator:
    """Always gives the start permit; `on_result` receives the result of a successful run."""

    def __init__(self, permit: StartPermit, on_result: Callable[[Any], None]) -> None:
        self._permit = permit
        self._on_result = on_result

    def request_permit(self) -> StartPermit:
        return self._permit

    def tell_progress(self, progress: Progress) -> None:
        """Does nothing: the log has the progress."""

    def tell_end(self, ending: Ending, usage: Usage, seconds: float) -> None:
        del usage, seconds
        if ending.outcome is Outcome.SUCCEEDED:
            self._on_result(ending.result)


def local_settings(job: str) -> Settings:
    """Settings of a local run."""
    return Settings(INVOCATION, 1, "", "", job, REVISION)
