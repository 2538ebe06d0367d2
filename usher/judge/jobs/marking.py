"""The judge as a job: fetch, mark in boxes, store the documents, report the mark; then the next
one.

With `prepare` it pins and cleans the images of an assignment's graders instead.

It never runs untrusted code in its own process, and has no AWS rights: the start permit contains
URLs that are valid for this grading only.
"""

import contextlib
import itertools
import os
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from chalicelib.contract.jobs import JobEnv
from usher.grading.marking import Marker, Order, Papers, PapersError, hand_in
from usher.job import Job
from usher.log import say


class UsherJudge(Job):
    """Marks one part of a submission."""

    cpu = 1024
    memory = 2048
    timeout_seconds = 900
    priority = "normal"

    class Parameters(BaseModel):
        """The input in the start permit; see `chalicelib.grading.judging`."""

        model_config = ConfigDict(extra="ignore")

        grading: str
        submission: str
        assignment: str
        part: str
        learner: str
        revision: int
        grader: str
        files: str
        results: dict[str, str]
        image: str | None = None
        """The pinned image of the part, if the images were prepared."""
        prepare: bool = False
        marks: dict[str, str] | None = None
        """URL for marks, and the key for it."""

    def run(self, parameters: Any) -> dict[str, Any]:
        """Mark the given grading, and the ones returned for each mark.

        Returns the last mark if it could not be reported, in the format of
        `chalicelib.grading.lifecycle.read_mark`; else the number of gradings.
        """
        with contextlib.closing(Marker()) as marker:
            return self._run(marker, parameters, parameters.marks)

    def _run(self, marker: Marker, given: Any, marks: dict[str, str] | None) -> dict[str, Any]:
        # The address at which this container has reached the dispatcher already.
        own = os.environ.get(JobEnv.INVOCATION_URL)
        url = f"{own}/marks" if own else (marks or {}).get("url", "")
        for number in itertools.count(1):
            mark = self._mark(marker, given)
            if marks is None:
                return mark
            try:
                order = hand_in(url, marks["key"], mark)
            except PapersError as error:
                say(f"usher: a mark is told with the end: {error}")
                return mark
            if order is None:
                return {"gradings": number}
            given = self.Parameters.model_validate(order)
        raise AssertionError("unreachable")

    def _mark(self, marker: Marker, given: Any) -> dict[str, Any]:
        order = Order(
            grading=given.grading,
            submission=given.submission,
            assignment=given.assignment,
            part=given.part,
            learner=given.learner,
            revision=given.revision,
            image=given.image,
        )
        papers = Papers(given.grader, given.files, given.results)

        def tell(what: str, number: int, total: int) -> None:
            if what == "case":
                self.progress((number - 1) / total, f"{order.grading}: case {number} of {total}")
            else:
                self.progress(None, f"{order.grading}: {what}")

        if given.prepare:
            return marker.prepare_order(order, papers, tell)
        return marker.mark_order(order, papers, tell, datetime.now(UTC))
