"""The waiting invocations of a capacity group in one run of the launcher."""

from collections.abc import Callable, Iterator

from chalicelib.jobs.model import Invocation


class Line:
    """The invocations of a group that may be tried, in order, with lookahead of one."""

    def __init__(self, candidates: Callable[[set[str]], Iterator[Invocation]]) -> None:
        """`candidates` receives the set of blocked launch types; see `policy.candidates`."""
        self.blocked: set[str] = set()
        """Launch types whose first invocation found no capacity: of this group alone, so that a
        large container of one group holds up no other."""
        self._candidates = candidates(self.blocked)
        self._first: Invocation | None = None
        self._is_closed = False

    @property
    def first(self) -> Invocation | None:
        """The next one to try; None if there is none."""
        if self._first is None and not self._is_closed:
            self._first = next(self._candidates, None)
            self._is_closed = self._first is None
        return self._first

    def take_first(self) -> Invocation:
        """Return the next one to try and advance."""
        taken = self.first
        if taken is None:
            raise ValueError("nothing waits in this line")
        self._first = None
        return taken

    def close(self) -> None:
        """Try no more of its invocations in this run."""
        self._first, self._is_closed = None, True
