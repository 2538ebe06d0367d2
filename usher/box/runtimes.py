"""Chooses the runtime that makes the boxes of this machine."""

from collections.abc import Callable, Mapping
from typing import Protocol

from usher.box.bubblewrap_box import BubblewrapBoxes, bubblewrap_missing
from usher.box.docker_box import DockerBoxes, docker_missing
from usher.box.model import BoxSettings, NoBoxError, Outcome, Task
from usher.box.names import RUNTIMES


class Boxes(Protocol):
    """Makes a box for each run and removes it afterwards."""

    name: str

    def run(self, task: Task, settings: BoxSettings) -> Outcome:
        """Raises BoxError if the box itself failed. Thread-safe."""

    def session(self) -> "Boxes":
        """Boxes for one submission, to be closed before these. No run shares anything with another
        one; the processes or containers that make boxes may serve the next session.
        """

    def close(self) -> None:
        """End processes and containers that were kept for another run, or leave them to the next
        session.
        """


_MISSING: Mapping[str, Callable[[], str]] = {
    "docker": docker_missing,
    "bubblewrap": bubblewrap_missing,
}
_MAKERS: Mapping[str, Callable[[str | None], Boxes]] = {
    "docker": DockerBoxes,
    "bubblewrap": lambda _: BubblewrapBoxes(),
}


def choose_boxes(wanted: str | None = None, base: str | None = None) -> Boxes:
    """The wanted runtime, or the first one that works here.

    `base` is the image with the guard's Python for Docker's boxes.

    Raises NoBoxError with the reason of each: untrusted code never runs without a box.
    """
    reasons: list[str] = []
    for name in RUNTIMES if wanted is None else (wanted,):
        missing = _MISSING[name]()
        if not missing:
            return _MAKERS[name](base)
        reasons.append(f"{name}: {missing}")
    raise NoBoxError(
        "nothing here can hold code of strangers, so none is run: " + "; ".join(reasons)
    )
