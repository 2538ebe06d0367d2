"""The judge as a job: fetch, mark in boxes, store the documents, report the mark.

It never runs code of strangers in a process of its own, and has no right on AWS: the start permit
brings URLs that are good for this grading alone.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from usher.grading.marking import Order, Papers, mark_order
from usher.job import Job


class UsherJudge(Job):
    """Marks one part of a submission."""

    cpu = 1024
    memory = 2048
    timeout_seconds = 900
    priority = "normal"

    class Parameters(BaseModel):
        """What the start permit brings; see `chalicelib.grading.judging`."""

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

    def run(self, parameters: Any) -> dict[str, Any]:
        """The mark, as `chalicelib.grading.lifecycle.read_mark` reads it."""
        order = Order(
            grading=parameters.grading,
            submission=parameters.submission,
            assignment=parameters.assignment,
            part=parameters.part,
            learner=parameters.learner,
            revision=parameters.revision,
        )
        papers = Papers(parameters.grader, parameters.files, parameters.results)
        return mark_order(order, papers, self._say, datetime.now(UTC))

    def _say(self, what: str, number: int, total: int) -> None:
        if what == "case":
            self.progress((number - 1) / total, f"case {number} of {total}")
        else:
            self.progress(None, what)
