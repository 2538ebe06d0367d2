"""Writes of a submission, and their order."""

from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.config import load_config
from chalicelib.errors import UnavailableError
from chalicelib.grading.model import Assignment, PartInfo
from chalicelib.grading.service import Grades

PART = PartInfo(
    name="double",
    title="Double",
    max_score=10.0,
    kind="tests",
    files=("main.py",),
    cases=1,
    time_limit_seconds=1.0,
    memory_limit_mib=64,
    output_limit_kib=64,
)
ASSIGNMENT = Assignment(
    id="double",
    author="tess",
    title="Double",
    pass_points=0.0,
    parts=(PART,),
    archive="graders/double/1.zip",
    digest="d",
    created_at=0.0,
    changed_at=0.0,
    revision=1,
)


class First:
    """A table in which the first submission of an id stays."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add(self, draft, gradings, bounds, record):
        if draft.id in self.found:
            return None
        self.found[draft.id] = draft
        return draft, gradings

    def submission(self, submission_id):
        return self.found.get(submission_id)


def test_a_request_that_lost_the_race_for_a_key_replaces_no_file_of_the_winner():
    bucket: dict[str, bytes] = {}
    grades = Grades(
        table=First(),
        files=SimpleNamespace(put=bucket.__setitem__),
        judging=SimpleNamespace(hand_over_soon=lambda newcomers: None),
        catalog=None,
        ids=SimpleNamespace(uuid=iter("abcdef").__next__),
        config=load_config({"STAGE": "local", "AWS_REGION": "eu-west-1"}),
        now=lambda: 1.0,
    )

    def submit(text: bytes):
        return grades.submit(
            ASSIGNMENT,
            {"double": {"main.py": text}},
            submission_id="same",
            digest=None,
            learner="ada",
            callback_base_url="http://d",
            audit=lambda _: SimpleNamespace(write=lambda before, after: None),
        )

    won = submit(b"print(2)").submission
    kept = dict(bucket)
    lost = submit(b"print(3)")
    assert not lost.is_new
    assert lost.submission == won
    assert bucket.items() >= kept.items()
    assert won.parts[0].archive in kept


@pytest.mark.parametrize("launch_type", ["FARGATE", None])
def test_where_judges_would_be_on_fargate_submissions_are_refused_with_the_reason(launch_type):
    judge = SimpleNamespace(description=SimpleNamespace(launch_type=launch_type))
    kept = dict.fromkeys(("table", "files", "judging", "ids"))
    place = {"STAGE": "local", "AWS_REGION": "eu-west-1", "JOBS_LAUNCH_TYPE": "FARGATE"}
    catalog = SimpleNamespace(get=lambda job: judge)
    grades = Grades(**kept, catalog=catalog, config=load_config(place), now=lambda: 1.0)
    with pytest.raises(UnavailableError, match="cannot run on Fargate"):
        grades.check_accepts_submissions()
    judge.description.launch_type = "EC2"
    grades.check_accepts_submissions()
