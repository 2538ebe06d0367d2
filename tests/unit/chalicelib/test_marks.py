"""The pure functions of the learner's page, called in Node.js."""

import json
import subprocess
from typing import Any

from chalicelib.api.pages import FOLDER
from tests.needs import needs_node
from tests.unit.chalicelib.test_console_texts import PROGRAM

MIB = 1024 * 1024
AT = "2027-01-15T08:00:00.000Z"
NOW = 1_800_000_000_000


def called(*cases: list[Any]) -> list[Any]:
    done = subprocess.run(
        ["node", "--input-type=module", "-e", PROGRAM, f"{FOLDER}/marks.js"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[Any] = json.loads(done.stdout)
    return answers


def check(name: str, cases: list[tuple[list[Any], Any]]) -> None:
    assert called(*[[name, *given] for given, _ in cases]) == [wanted for _, wanted in cases]


@needs_node
def test_points_and_limits_are_said_without_needless_digits():
    check("points", [([100 / 3], "33.33"), ([40.0], "40"), ([0.1 + 0.2], "0.3"), ([0], "0")])
    check("scored", [([None, 50], "– of 50 points"), ([12.5, 50], "12.5 of 50 points")])
    check(
        "passMark",
        [
            (
                [{"passPoints": 80, "maxScore": 100}],
                "You must earn 80 of 100 points to pass.",
            ),
            ([{"passPoints": 0, "maxScore": 100}], "This assignment has no pass mark."),
        ],
    )
    check(
        "used",
        [
            ([0.0213, 1, "s"], "0.02 of 1 s"),
            ([9.14, 64, "MiB"], "9.14 of 64 MiB"),
            ([120.4, 128, "MiB"], "120 of 128 MiB"),
            ([0, None, "s"], "0 s"),
            ([None, 1, "s"], "–"),
        ],
    )
    check("shareOf", [([1, 4], 0.25), ([9, 4], 1), ([-1, 4], 0), ([1, 0], 0), ([None, 4], 0)])


@needs_node
def test_progress_in_words():
    check(
        "progressOf",
        [
            (
                [{"state": "QUEUED", "position": 3, "attempts": 0}],
                {"words": "In the queue, 3 before it", "share": None},
            ),
            (
                [{"state": "QUEUED", "position": 3, "estimateSeconds": 8, "attempts": 0}],
                {"words": "In the queue, 3 before it, marked in about 8 s", "share": None},
            ),
            (
                [{"state": "QUEUED", "position": 0, "attempts": 0}],
                {"words": "In the queue, next", "share": None},
            ),
            (
                [{"state": "QUEUED", "position": None, "attempts": 2}],
                {"words": "Handed to a judge, again: a judge was lost", "share": None},
            ),
            ([{"state": "COMPILING", "attempts": 1}], {"words": "Compiling", "share": None}),
            (
                [{"state": "RUNNING", "attempts": 1, "progress": {"case": 3, "of": 10}}],
                {"words": "Case 3 of 10", "share": 0.2},
            ),
            (
                [{"state": "RUNNING", "attempts": 1, "progress": {"case": None, "of": None}}],
                {"words": "Running", "share": None},
            ),
        ],
    )


@needs_node
def test_a_screen_reader_is_told_of_steps_and_not_of_each_case():
    def submission(state: str, **more: Any) -> list[Any]:
        part = {"part": "a", "verdict": "WA"}
        return [{"state": state, "gradings": [], "parts": [part], "score": 4, "maxScore": 9} | more]

    running = {"gradings": [{"state": "RUNNING", "progress": {"case": 3, "of": 10}}]}
    two = [{"part": "a", "verdict": "AC"}, {"part": "b", "verdict": "IE"}]
    check(
        "announcement",
        [
            (submission("QUEUED", gradings=[{"position": 2}]), "In the queue, 2 before it."),
            (submission("QUEUED", gradings=[{"position": None}]), "Handed to a judge."),
            (submission("COMPILING"), "Compiling."),
            (submission("RUNNING", **running), "Your program is being run on the cases."),
            (submission("FINISHED"), "Marked. Wrong answer. 4 of 9 points."),
            (
                submission("FINISHED", parts=two, score=9),
                "Marked. a: Right, b: The grader failed. 9 of 9 points.",
            ),
        ],
    )


@needs_node
def test_polling_slows_down_and_ends_with_the_marking():
    def waiting(seconds: float) -> list[Any]:
        return [{"state": "RUNNING", "submittedAt": AT}, NOW + seconds * 1000]

    check(
        "pollSeconds",
        [
            (waiting(-60), 1),
            (waiting(0), 1),
            (waiting(30), 3),
            (waiting(3600), 10),
            ([{"state": "FINISHED", "submittedAt": AT}, NOW], None),
        ],
    )


@needs_node
def test_uploads_are_repeated_where_nobody_answered_or_the_answer_says_when():
    def refusal(status: int, code: str = "code", retry: int | None = None) -> list[Any]:
        return [{"status": status, "code": code, "retryAfter": retry}]

    check(
        "isWorthRepeating",
        [
            (refusal(0), True),
            (refusal(502, ""), True),
            (refusal(503, "unavailable", 1), True),
            (refusal(503, "", None), True),
            (refusal(503, "unavailable", None), False),
            (refusal(429, "limit", 30), True),
            (refusal(429, "limit", None), False),
            (refusal(400), False),
            (refusal(401), False),
            (refusal(409), False),
            (refusal(413, ""), False),
        ],
    )
    check("repeatAfter", [([1, None], 1), ([4, None], 8), ([90, None], 30), ([1, 45], 45)])


@needs_node
def test_bounds_of_a_submission_are_said_before_it_is_sent():
    check(
        "refusalOf",
        [
            ([[]], "Choose at least one file."),
            ([[MIB]], ""),
            ([[1] * 64], ""),
            ([[1] * 65], "These are 65 files; at most 64 are taken."),
            ([[MIB, 1]], "Together the files have 1.0 MiB; at most 1 MiB is taken."),
        ],
    )
    check("sizeOf", [([0], "0 B"), ([1023], "1023 B"), ([1536], "1.5 KiB"), ([3 * MIB], "3.0 MiB")])


@needs_node
def test_statistics_of_pages_are_added_up():
    first = {
        "submissions": 2,
        "parts": [{"part": "a", "verdicts": {"AC": 1, "WA": 1}}],
        "cases": [{"part": "a", "name": "1", "verdicts": {"AC": 2}}],
        "errors": [],
    }
    second = {
        "submissions": 1,
        "parts": [{"part": "a", "verdicts": {"WA": 2}}, {"part": "b", "verdicts": {"IE": 1}}],
        "cases": [{"part": "b", "name": "1", "verdicts": {"IE": 1}}],
        "errors": [{"grading": "g"}],
    }
    check(
        "mergeStatistics",
        [
            (
                [[first, second]],
                {
                    "submissions": 3,
                    "parts": [
                        {"part": "a", "verdicts": {"AC": 1, "WA": 3}},
                        {"part": "b", "verdicts": {"IE": 1}},
                    ],
                    "cases": [*first["cases"], *second["cases"]],
                    "errors": [{"grading": "g"}],
                },
            ),
            ([[]], {"submissions": 0, "parts": [], "cases": [], "errors": []}),
        ],
    )
    check("byCount", [([{"AC": 1, "WA": 3}], [["WA", 3], ["AC", 1]])])
