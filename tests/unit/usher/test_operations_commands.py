"""Output of the commands for operators, their completion, and the file of `usher tail`."""

import json
import os
import stat
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.cli.common import LINES
from usher.cli.completion import SCRIPTS, candidates, complete
from usher.cli.cursor_file import load_cursor, save_cursor
from usher.cli.main import build_parser
from usher.cli.operations_text import (
    fit,
    group_row,
    host_row,
    problems_of,
    session_row,
    sparkline,
    top_lines,
)
from usher.cli.tail import as_json, as_text
from usher.cli.text import UsageError
from usher.session_steps import Record

OVERVIEW = {
    "at": "2026-01-31T09:00:00.000Z",
    "sweep": {
        **{"finishedAt": "2026-01-31T08:59:40.000Z", "seconds": 1.5},
        **{"records": 12, "tasks": 11, "skipped": 0},
    },
    "deadLetters": {"launches": 0},
    "sessions": {"live": 7},
    "jobs": {
        **{"waiting": {"critical": 0, "normal": 3, "low": 0}, "running": 2, "capacity": 200},
        "oldestWaitingSince": "2026-01-31T08:59:00.000Z",
    },
}
APPS = [{"name": "listings", "state": "proven", "revision": 7}]
HOSTILE = "\x1b[2J\x9b31m\u202eevil\r\n\x07"


def test_top_says_that_nothing_is_wrong_and_what_runs():
    lines = top_lines(OVERVIEW, APPS, 100)
    text = "\n".join(lines)
    assert "nothing is wrong" in lines[1]
    for part in ("7 live", "2 of 200 running", "3 (3 normal)", "waits for 1.0 min", "listings"):
        assert part in text
    assert problems_of(OVERVIEW, APPS) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"alarms": [{"name": "x", "since": "2026-01-31T08:00:00.000Z", "reason": "crossed"}]},
            "the alarm x is open for ",
        ),
        ({"alarms": None}, "CloudWatch does not say"),
        ({"deadLetters": {"events": 1}}, "1 message about events given up"),
        ({"orphans": 2}, "the last sweep stopped 2 tasks"),
        ({"hosts": {"leaving": ["0a"]}}, "host 0a takes no more tasks"),
        ({"hosts": None}, "ECS does not say"),
    ],
)
def test_top_leaves_out_nothing_that_the_console_calls_wrong(more, said):
    problems = problems_of(OVERVIEW | more, APPS)
    assert len(problems) == 1
    assert problems[0].startswith(said)


def test_top_shows_states_percentiles_and_the_last_hours():
    trend = [
        {"at": "x", "active": number, "warm": 2, "coming": 0, "jobsRunning": 0, "jobsWaiting": 1,
         "starts": 0, "addressP50": 0.5 if number else None, "addressP99": None}
        for number in range(8)
    ]  # fmt: skip
    sessions = {
        "live": 9,
        "byApp": {"listings": {"ACTIVE": 7, "WARM": 1}, "chat": {"WARM": 1}},
        "timeToAddress": {"p50Seconds": 0.04, "p99Seconds": 3.1},
    }
    lines = top_lines(OVERVIEW | {"sessions": sessions, "trend": trend}, APPS, 100)
    text = "\n".join(lines)
    for part in (
        "9 live (7 ACTIVE, 2 WARM)", "p50 0.04 s, p99 3.10 s", "7 ACTIVE, 1 WARM",
        "sessions in use    ▁▂▃▄▅▆▇█ 7", "address, p50 s      ███████ 0.5",
    ):  # fmt: skip
        assert part in text
    assert "p99 s  " not in text
    assert sparkline([0, None, 5]) == "▁ █"
    assert top_lines(OVERVIEW | {"trend": trend[:1]}, APPS, 100)[-1].startswith("listings")


def test_top_says_first_what_is_wrong():
    overview = json.loads(json.dumps(OVERVIEW))
    overview["deadLetters"]["launches"] = 4
    overview["sweep"]["finishedAt"] = "2026-01-31T08:00:00.000Z"
    overview["sweep"]["skipped"] = 2
    overview["jobs"]["oldestWaitingSince"] = "2026-01-31T08:30:00.000Z"
    apps = [{"name": "a", "state": "refused", "revision": 3, "failures": 5, "reason": "no image"}]
    problems = problems_of(overview, apps)
    assert len(problems) == 5
    assert problems[0].startswith("a: 5 starts of revision 3 in a row failed")
    assert top_lines(overview, apps, 100)[1] == f"! {problems[0]}"
    assert problems_of(overview | {"sweep": None}, [])[-2].startswith("no pass")


@given(st.integers(20, 200), st.text(max_size=300))
def test_no_line_of_top_is_wider_than_the_terminal_or_moves_its_cursor(width, text):
    apps = [{"name": text, "state": "failing", "revision": 1, "failures": 1, "reason": text}]
    for line in top_lines(OVERVIEW | {"deadLetters": {text: 1}}, apps, width):
        assert line.isprintable()
        assert fit(line, width) == line


@pytest.mark.parametrize(("line", "width", "fits"), [("漢字かな", 5, "漢字"), ("abc", 2, "ab")])
def test_wide_characters_take_two_columns(line, width, fits):
    assert fit(line, width) == fits


def test_a_row_of_a_capacity_group_has_its_amounts_and_its_pace():
    group = {
        **{"name": "live", "tier": "critical", "waiting": 3, "secondsBetweenStarts": 2.25},
        "taken": {"places": 5, "cpu": 1024, "memory": 2048},
        "guaranteed": {"places": 4, "cpu": 0, "memory": 0},
        "maximum": {"places": 8, "cpu": None, "memory": None},
        "borrowed": {"places": 1, "cpu": 0, "memory": 0},
    }
    row = ("live", "critical", "5/1024/2048", "4/0/0", "8/-/-", "1/0/0", "3", "2.2 s")
    assert group_row(group) == row
    unbounded = dict.fromkeys(("places", "cpu", "memory"))
    more = {**group, "maximum": unbounded, "secondsBetweenStarts": None}
    assert group_row(more)[4::3] == ("-", "")
    assert "capacity" in candidates(build_parser(), [], "cap", lambda *_: [])


def test_rows_are_plain_text():
    session = {"id": "a", "app": "x", "state": "WARM", "owner": None, "host": "arn:b/c/d"}
    assert session_row(session) == ("a", "x", "WARM", "nobody, warm", "", "", "d")
    host = {"id": "h", "status": "ACTIVE", "connected": False, "cpu": {"total": 4, "left": 1}}
    assert host_row(host)[2] == "ACTIVE, no agent"
    assert host_row(host)[5] == "1 of 4"
    assert host_row({"id": "h", "leaving": True, "status": "DRAINING"})[2] == "leaving"


def test_records_are_printed_without_control_characters():
    record = Record({"a": HOSTILE, "n": 2**53 + 1}, HOSTILE, "1", datetime(2026, 1, 31, tzinfo=UTC))
    for line in (as_text(record), as_json(record)):
        assert line.isprintable()
        assert str(2**53 + 1) in line
    assert json.loads(as_json(record))["data"]["a"] == HOSTILE
    assert json.loads(as_json(record))["arrivedAt"] == 1769817600000
    assert "\x1b" not in LINES


def test_the_cursor_file_is_whole_and_its_owners_alone(tmp_path):
    file = tmp_path / "a.cursor"
    assert load_cursor(file, "x") is None
    file.write_text("{}")
    file.chmod(0o644)
    save_cursor(file, "x", "1~t5")
    assert load_cursor(file, "x") == "1~t5"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.cursor"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"cursor": 1, "app": "x"}', '{"cursor": "c"}', "\udcff"]
)
def test_another_file_is_no_cursor_file(tmp_path, text):
    file = tmp_path / "a.cursor"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match="cursor-file"):
        load_cursor(file, "x")


def test_the_cursor_of_another_app_is_refused_and_so_is_a_folder_that_is_not_there(tmp_path):
    save_cursor(tmp_path / "c", "x", "1~t5")
    with pytest.raises(UsageError, match="that of the app x"):
        load_cursor(tmp_path / "c", "y")
    with pytest.raises(UsageError, match="no folder"):
        load_cursor(tmp_path / "none" / "c", "y")
    with pytest.raises(UsageError, match="cursor-file"):
        save_cursor(tmp_path / "none" / "c", "y", "1~t5")


def names(metavar, url):
    return {"JOB": ["report", "export"], "APP": ["listings"]}.get(metavar, [])


@pytest.mark.parametrize(
    ("before", "prefix", "found"),
    [
        ([], "", {"run", "tail", "top", "schedule", "completion"}),
        (["invoke"], "", {"report", "export"}),
        (["invoke", "--priority"], "", {"critical", "normal", "low"}),
        (["invoke", "report", "--f"], "--f", {"--follow"}),
        (["schedule"], "p", {"put", "pause"}),
        (["schedule", "put", "monday"], "", {"report"}),
        (["tail"], "", {"listings"}),
        (["tail", "listings"], "-", {"--cursor-file", "--filter"}),
        (["completion"], "", {"bash", "zsh", "fish"}),
        (["sessions", "--app"], "", {"listings"}),
        (["sessions", "--state"], "", {"ACTIVE"}),
    ],
)
def test_completion_knows_commands_options_choices_and_names(before, prefix, found):
    assert found <= set(candidates(build_parser(), before, prefix, names))


@pytest.mark.parametrize("before", [["nonsense"], ["tail", "listings"], ["schedule", "x", "y"]])
def test_completion_has_nothing_to_say_there(before):
    assert candidates(build_parser(), before, "", names) == []


def test_a_strangers_name_never_becomes_part_of_a_command_line(monkeypatch, capsys):
    hostile = ["$(touch x)", "a b", "`id`", "ok", "a;b", "a\nb"]
    monkeypatch.setattr("usher.cli.completion.known_names", lambda *_: hostile)
    assert complete(build_parser(), ["invoke", ""]) == 0
    assert capsys.readouterr().out == "ok\n"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_asks_the_command(shell):
    assert "usher __complete" in SCRIPTS[shell]
