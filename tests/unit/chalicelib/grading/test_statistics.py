from chalicelib.grading.model import State
from chalicelib.grading.statistics import MAX_DETAILS_CHARACTERS, show_statistics
from tests.unit.chalicelib.grading.test_decisions import grading


def finished(verdict, cases=(), **changes):
    done = grading(state=State.FINISHED, verdict=verdict, finished_at=9.0, **changes)
    document = {"cases": [{"name": name, "verdict": one, **more} for name, one, more in cases]}
    return done, document


def test_verdicts_are_counted_by_part_and_by_case_of_the_revision_alone():
    shown = show_statistics(
        [
            finished("AC", [("1", "AC", {}), ("2", "AC", {})]),
            finished("WA", [("1", "AC", {}), ("2", "WA", {})]),
            finished("WA", [("1", "WA", {})], revision=2),
            finished("CE", part="other"),
            (grading(), {}),
        ],
        revision=1,
    )
    assert shown["parts"] == [
        {"part": "p", "verdicts": {"AC": 1, "WA": 2}},
        {"part": "other", "verdicts": {"CE": 1}},
    ]
    assert shown["cases"] == [
        {"part": "p", "name": "1", "verdicts": {"AC": 2}},
        {"part": "p", "name": "2", "verdicts": {"AC": 1, "WA": 1}},
    ]
    assert shown["errors"] == []


def test_failures_say_why_at_a_bounded_length():
    by_checker, document = finished(
        "IE", [("1", "AC", {"message": "fine"}), ("2", "IE", {"message": "exit 9 " * 1000})]
    )
    document["feedback"] = "the checker failed"
    lost, _ = finished("IE", reason="the judge ended without a mark", revision=7)
    shown = show_statistics([(by_checker, document), (lost, {})], revision=1)
    first, second = shown["errors"]
    assert first["details"].startswith("the checker failed\n2: exit 9")
    assert len(first["details"]) == MAX_DETAILS_CHARACTERS
    assert (second["details"], second["revision"]) == ("the judge ended without a mark", 7)
    assert first["finishedAt"] == "1970-01-01T00:00:09.000Z"
