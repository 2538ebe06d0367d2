"""What waits in one capacity group, as a round of the launcher goes through it."""

from collections.abc import Callable, Iterator

from chalicelib.jobs.model import Invocation


class Line:
    """The invocations of a group that may be tried, in order; the first one is known ahead."""

    def __init__(self, candidates: Callable[[set[str]], Iterator[Invocation]]) -> None:
        """`candidates` gets the set of launch types that are blocked; see `policy.candidates`."""
        self.blocked: set[str] = set()
        """Launch types whose first invocation found no capacity: of this group alone, so that a
        large container of one group holds up no other."""
        self._candidates = candidates(self.blocked)
        self._first: Invocation | None = None
        self._is_closed = False

    @property
    def first(self) -> Invocation | None:
        """The next one to be tried; None where there is none."""
        if self._first is None and not self._is_closed:
            self._first = next(self._candidates, None)
            self._is_closed = self._first is None
        return self._first

    def take_first(self) -> Invocation:
        """The next one to be tried; the one behind it comes then."""
        taken = self.first
        if taken is None:
            raise ValueError("nothing waits in this line")
        self._first = None
        return taken

    def close(self) -> None:
        """None of its invocations is tried any more in this round."""
        self._first, self._is_closed = None, True
