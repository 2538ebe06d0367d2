"""docs/jobs.md agrees with the code."""

import re
from pathlib import Path

import chalicelib.contract.jobs as contract
from chalicelib.contract.jobs import JOB_BOUNDS
from usher.client import KEY_VARIABLE, URL_VARIABLE
from usher.ending import EXIT_KILLED, EXIT_OUT_OF_MEMORY
from usher.job import Job
from usher.protocol import Limits
from usher.transport import Patience

TEXT = (Path(__file__).parents[3] / "docs" / "jobs.md").read_text(encoding="utf-8")


def rows_of(header):
    """Cells of the table with this first column."""
    table = TEXT.split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_every_attribute_is_described_with_its_default_and_bounds():
    rows = {row[0].strip("`"): row for row in rows_of("attribute")}
    assert set(rows) == {name for name in Job.__annotations__ if not name.startswith("_")}
    for name, row in rows.items():
        assert row[1].strip("`").replace('"', "") == str(getattr(Job, name))
    for name in ("cpu", "memory"):
        least, most = JOB_BOUNDS[name]
        assert f"{least} to {most}" in rows[name][2]
    assert JOB_BOUNDS["timeout_seconds"][1] == 7 * 86_400
    assert JOB_BOUNDS["queue_seconds"][1] == 14 * 86_400


def test_every_exit_code_is_described():
    named = {row[0] for row in rows_of("exit code")}
    kept = {
        contract.EXIT_INVALID,
        contract.EXIT_NOT_RUN,
        contract.EXIT_TIMED_OUT,
        EXIT_KILLED,
        EXIT_OUT_OF_MEMORY,
    }
    assert named == {"0", "1", "n", "none", *map(str, map(int, kept))}


def test_numbers_in_the_text_are_those_of_the_code():
    assert f"at most {contract.MAX_RESULT_BYTES // 1024} KiB" in TEXT
    assert f"at most {contract.MAX_PARAMETERS_BYTES // 1024} KiB" in TEXT
    assert f"{Limits().grace_seconds:g} seconds later" in " ".join(TEXT.split())
    assert Limits().progress_seconds == 1
    assert Patience().tries == 6


def test_every_variable_is_described():
    named = {row[0].strip("`") for row in rows_of("variable")}
    assert named == {URL_VARIABLE, KEY_VARIABLE, "USHER_BASE_IMAGE"}


def test_the_class_in_the_text_is_a_job():
    (code,) = re.findall(r"```python\n(from pydantic.+?)```", TEXT, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    job = names["MarketReport"]
    assert job().run(job.Parameters(weeks=3)) == {"weeks": 3}
