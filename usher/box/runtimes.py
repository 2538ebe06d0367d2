"""Which runtime makes the boxes of this machine."""

from collections.abc import Callable, Mapping
from typing import Protocol

from usher.box.bubblewrap_box import BubblewrapBoxes, bubblewrap_missing
from usher.box.docker_box import DockerBoxes, docker_missing
from usher.box.model import BoxSettings, NoBoxError, Outcome, Task


class Boxes(Protocol):
    """Makes a box for each run and takes it away after it."""

    name: str

    def run(self, task: Task, settings: BoxSettings) -> Outcome:
        """Raises BoxError when the box itself failed. Thread-safe."""

    def session(self) -> "Boxes":
        """Boxes for one submission: what makes them is shared with no other submission."""

    def close(self) -> None:
        """End what is kept ready for another run."""


_MISSING: Mapping[str, Callable[[], str]] = {
    "docker": docker_missing,
    "bubblewrap": bubblewrap_missing,
}
_MAKERS: Mapping[str, Callable[[str | None], Boxes]] = {
    "docker": DockerBoxes,
    "bubblewrap": lambda _: BubblewrapBoxes(),
}
NAMES = tuple(_MAKERS)
"""The preferred one first."""


def choose_boxes(wanted: str | None = None, base: str | None = None) -> Boxes:
    """The wanted runtime, or the first that works here.

    `base` is the image that Docker's boxes take the guard's own Python from.

    Raises NoBoxError with the reason of each: code of strangers is never run without a box.
    """
    reasons: list[str] = []
    for name in NAMES if wanted is None else (wanted,):
        missing = _MISSING[name]()
        if not missing:
            return _MAKERS[name](base)
        reasons.append(f"{name}: {missing}")
    raise NoBoxError(
        "nothing here can hold code of strangers, so none is run: " + "; ".join(reasons)
    )
