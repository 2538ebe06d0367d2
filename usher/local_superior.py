"""Gives leave where there is no dispatcher: to `usher run`, for the job it was asked for."""

from collections.abc import Callable
from typing import Any

from chalicelib.contract.jobs import Outcome
from usher.protocol import Ending, Leave, Settings, Usage
from usher.said import Progress

INVOCATION = "local"
REVISION = "0"


class LocalSuperior:
    """Always gives leave; `on_result` gets the result of a run that succeeded."""

    def __init__(self, leave: Leave, on_result: Callable[[Any], None]) -> None:
        self._leave = leave
        self._on_result = on_result

    def ask_leave(self) -> Leave:
        return self._leave

    def tell_progress(self, progress: Progress) -> None:
        """Nobody asks: it is in the log."""

    def tell_end(self, ending: Ending, usage: Usage, seconds: float) -> None:
        del usage, seconds
        if ending.outcome is Outcome.SUCCEEDED:
            self._on_result(ending.result)


def local_settings(job: str) -> Settings:
    """What a local run is called."""
    return Settings(INVOCATION, 1, "", "", job, REVISION)
