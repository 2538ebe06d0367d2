"""Submissions for a reader, with the judge's documents for learners or for the author, never
mixed.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from chalicelib.dynamodb.records import Unreadable
from chalicelib.grading.answers import show_grading, show_older, show_submission
from chalicelib.grading.fairness import estimate_seconds
from chalicelib.grading.files import GradingFiles
from chalicelib.grading.lifecycle import fold_mark
from chalicelib.grading.model import Grading, State, Submission
from chalicelib.grading.statistics import Result, show_statistics
from chalicelib.grading.table import GradingTable
from chalicelib.jobs.service import Invocations


class Views:
    """Reads a submission's parts. Makes one read of each kind for each part."""

    def __init__(
        self, table: GradingTable, files: GradingFiles, invocations: Invocations, judges: int
    ) -> None:
        """`judges`: number of concurrent gradings."""
        self._table = table
        self._files = files
        self._invocations = invocations
        self._judges = judges

    def submission(self, submission: Submission, *, is_author: bool) -> dict[str, Any]:
        """The submission with its current gradings; earlier ones in `history`."""
        ids = [part.grading for part in submission.parts]
        older = [each for part in submission.parts for each in part.older]
        found = {
            grading.id: grading
            for grading in self._table.get_all([*ids, *older])
            if not isinstance(grading, Unreadable)
        }
        for grading in found.values():  # one of them may have just received its mark
            if grading.has_ended:
                submission = fold_mark(submission, grading)
        current = [self.grading(found[i], is_author=is_author) for i in ids if i in found]
        history = [show_older(found[each]) for each in reversed(older) if each in found]
        return show_submission(submission, current) | {"history": history}

    def grading(self, grading: Grading, *, is_author: bool) -> dict[str, Any]:
        """One grading with its progress."""
        document = invocation = position = estimate = None
        if grading.has_ended and grading.results is not None:
            document = self._files.document(grading.results, is_author=is_author)
        elif grading.state is State.STARTED and grading.invocation is not None:
            invocation = self._invocations.get_record(grading.invocation)
        elif grading.is_waiting:
            position = self._table.position(grading)
            estimate = estimate_seconds(position, self._table.pace(), self._judges)
        return show_grading(
            grading,
            document,
            is_author=is_author,
            invocation=invocation,
            position=position,
            estimate=estimate,
        )

    def statistics(self, submissions: Sequence[Submission], revision: int) -> dict[str, Any]:
        """Statistics of the current gradings of these submissions, for the author."""
        ids = [part.grading for submission in submissions for part in submission.parts]
        gradings = [each for each in self._table.get_all(ids) if not isinstance(each, Unreadable)]
        shown = show_statistics(self._results(gradings), revision)
        return {"submissions": len(submissions)} | shown

    def _results(self, gradings: Sequence[Grading]) -> Iterator[Result]:
        """Reads one after the other, because documents are large."""
        for grading in gradings:
            document = None
            if grading.has_ended and grading.results is not None:
                document = self._files.document(grading.results, is_author=True)
            yield grading, document or {}
