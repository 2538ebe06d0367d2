"""Sessions and jobs have nothing twice: what they share is in chalicelib/tasks."""

from pathlib import Path

from tests.duplicates import runs_between

ROOMS = Path(__file__).parents[2] / "chalicelib"
LEAST = 6
"""Fewer lines that are alike may be chance."""

TWICE = """
class {name}:
    size: int = 0

    def __init__(self, table: str, now: str) -> None:
        self._table = table
        self._now = now

    def total(self, numbers):
        # {name}
        found, last = 0, None
        for number in numbers:
            if number > 3:
                found += number
                last = number

        print({name}(found))
        {more}
        return found
"""


def modules(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def test_sessions_and_jobs_share_no_code_but_declarations():
    runs = runs_between(modules(ROOMS / "sessions"), modules(ROOMS / "jobs"), LEAST)
    assert not runs, "\n".join(map(str, runs))


def test_the_checker_finds_what_stands_twice_and_leaves_declarations_out(tmp_path):
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text(TWICE.format(name="Session", more="found += 1"))
    other.write_text(TWICE.format(name="Job", more="found += 2"))
    (run,) = runs_between([one], [other], LEAST)
    assert [line.text for line in run.here] == [
        "found, last = 0, None",
        "for number in numbers:",
        "if number > 3:",
        "found += number",
        "last = number",
        "print(Session(found))",
    ]
    assert runs_between([one], [other], 7) == []
