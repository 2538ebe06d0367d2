"""Routes of assignments and submissions. Pure."""

from chalicelib.api.reference.model import (
    FLAG,
    INSTANT,
    MAYBE_INSTANT,
    MAYBE_TEXT,
    MAYBE_WHOLE,
    NOTHING,
    TEXT,
    UUID,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    page_of,
    page_operation,
    record,
    ref,
    table_of,
)
from chalicelib.errors import ConflictError, LimitError, UnavailableError
from chalicelib.fields import Schema

_POINTS: Schema = {"type": "number"}
_MAYBE_POINTS: Schema = {"type": ["number", "null"]}
_ASSIGNMENT = Answer("The assignment.", ref("Assignment"))
_QUEUED = Answer("It waits for a judge.", ref("Submission"), ("Location",))
_COUNTS: Schema = {"type": "object", "additionalProperties": WHOLE}
_FILES = {"main.py": "print(42)"}

_ROW: dict[str, Schema] = {
    "id": UUID,
    "assignment": TEXT,
    "learner": TEXT,
    "revision": WHOLE,
    "submittedAt": INSTANT,
    "state": TEXT,
    "score": _MAYBE_POINTS,
    "maxScore": _POINTS,
    "parts": list_of(
        record(
            "A part that was handed in.",
            {
                "part": TEXT,
                "files": list_of(record("A file.", {"name": TEXT, "size": WHOLE})),
                "grading": UUID,
                "regrades": WHOLE,
                "verdict": MAYBE_TEXT,
                "score": _MAYBE_POINTS,
                "maxScore": _POINTS,
                "finishedAt": MAYBE_INSTANT,
            },
        )
    ),
}

GRADING = Part(
    "Grading",
    "Assignments, and what learners hand in.",
    {
        "grading.list_assignments": Operation(
            By.CALLER, {200: Answer("One page, by id.", ref("AssignmentsPage"))}
        ),
        "grading.get_assignment": Operation(By.CALLER, {200: _ASSIGNMENT}),
        "grading.put_assignment": Operation(
            By.CALLER,
            {201: Answer("A new assignment.", ref("Assignment")), 200: _ASSIGNMENT},
            (UnavailableError,),
            example={"files": {"grader.toml": 'files = ["main.py"]'}},
        ),
        "grading.prepare_assignment": Operation(
            By.CALLER,
            {202: Answer("Its images are being prepared.", ref("Assignment"))},
            (ConflictError, UnavailableError),
        ),
        "grading.delete_assignment": Operation(By.CALLER, {200: Answer("Done.", NOTHING)}),
        "grading.submit": Operation(
            By.CALLER,
            {202: _QUEUED, 200: Answer("The same request came before.", ref("Submission"))},
            (ConflictError, LimitError, UnavailableError),
            example={"parts": {"double": {"files": _FILES}}},
        ),
        "grading.list_submissions": Operation(
            By.CALLER, {200: Answer("One page, the newest first.", ref("SubmissionsPage"))}
        ),
        "grading.get_statistics": Operation(
            By.CALLER, {200: Answer("What became of a page of submissions.", ref("Statistics"))}
        ),
        "grading.learn": page_operation("The page with all assignments."),
        "grading.learn_one": page_operation("The page of an assignment."),
        "grading.get_submission": Operation(
            By.CALLER, {200: Answer("The submission.", ref("Submission"))}
        ),
        "grading.regrade_submission": Operation(
            By.CALLER, {202: _QUEUED}, (ConflictError, UnavailableError)
        ),
        "grading.take_mark": Operation(
            By.CONTAINER,
            {200: Answer("What to mark next, or null.", ref("NextGrading"))},
            (ConflictError,),
            example={
                "grading": "12345678-1234-4123-8123-123456789abc",
                "result": {"verdict": "AC", "score": 10, "feedback": "1 of 1 cases right."},
            },
        ),
        "grading.regrade_assignment": Operation(
            By.CALLER,
            {202: Answer("A page is marked again.", ref("Regraded"))},
            (ConflictError, UnavailableError),
        ),
    },
    {
        "Assignment": record(
            "An assignment at its newest revision.",
            {
                "id": TEXT,
                "title": TEXT,
                "revision": WHOLE,
                "passPoints": _POINTS,
                "maxScore": _POINTS,
                "parts": list_of(
                    record(
                        "A part.",
                        {
                            "name": TEXT,
                            "title": TEXT,
                            "kind": TEXT,
                            "maxScore": _POINTS,
                            "files": list_of(TEXT),
                            "cases": WHOLE,
                            "timeLimitSeconds": _POINTS,
                            "memoryLimitMib": WHOLE,
                            "outputLimitKib": WHOLE,
                        },
                    )
                ),
                "createdAt": INSTANT,
                "changedAt": INSTANT,
                "isAuthor": FLAG,
                "preparation": record(
                    "Of the images that its graders name: pinned by digest and cleaned.",
                    {"state": TEXT},
                    optional={
                        "reason": TEXT,
                        "images": table_of(TEXT),
                        "changedAt": MAYBE_INSTANT,
                    },
                ),
            },
            optional={"author": TEXT},
        ),
        "AssignmentsPage": page_of("assignments", ref("Assignment")),
        "SubmissionRow": record("A submission as a listing has it.", _ROW),
        "Submission": record(
            "A submission.",
            {**_ROW, "gradings": list_of(ref("Grading")), "history": list_of({"type": "object"})},
        ),
        "SubmissionsPage": record(
            "One page.",
            {
                "submissions": list_of(ref("SubmissionRow")),
                "standing": {"type": ["object", "null"]},
                "next": MAYBE_TEXT,
            },
        ),
        "Statistics": record(
            "What became of a page of submissions.",
            {
                "submissions": WHOLE,
                "revision": WHOLE,
                "parts": list_of(record("A part.", {"part": TEXT, "verdicts": _COUNTS})),
                "cases": list_of(
                    record("A case.", {"part": TEXT, "name": TEXT, "verdicts": _COUNTS})
                ),
                "errors": list_of(
                    record(
                        "A grading that failed (IE).",
                        {
                            "submission": UUID,
                            "grading": UUID,
                            "part": TEXT,
                            "learner": TEXT,
                            "revision": WHOLE,
                            "finishedAt": MAYBE_INSTANT,
                            "details": TEXT,
                        },
                    )
                ),
                "next": MAYBE_TEXT,
            },
        ),
        "Grading": record(
            "One marking of one part.",
            {
                "id": UUID,
                "assignment": TEXT,
                "part": TEXT,
                "submission": UUID,
                "state": TEXT,
                "verdict": MAYBE_TEXT,
                "score": _MAYBE_POINTS,
                "maxScore": _POINTS,
                "feedback": TEXT,
                "cases": list_of({"type": "object"}),
                "compile": {"type": ["object", "null"]},
                "queuedAt": INSTANT,
                "startedAt": MAYBE_INSTANT,
                "finishedAt": MAYBE_INSTANT,
                "revision": WHOLE,
                "attempts": WHOLE,
                "progress": {"type": ["object", "null"]},
                "position": MAYBE_WHOLE,
                "estimateSeconds": MAYBE_WHOLE,
                "preparing": FLAG,
            },
            optional={"reason": MAYBE_TEXT, "invocation": MAYBE_TEXT},
        ),
        "NextGrading": record(
            "What a judge marks next.",
            {"next": {"type": ["object", "null"]}},
            example={"next": None},
        ),
        "Regraded": record(
            "What was queued.",
            {"submissions": WHOLE, "gradings": WHOLE, "key": TEXT, "next": MAYBE_TEXT},
        ),
    },
)
