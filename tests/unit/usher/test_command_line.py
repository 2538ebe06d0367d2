import argparse
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.cli.main import build_parser, main
from usher.cli.parser import ALIASES
from usher.cli.text import UsageError, are_pairs, audit_row, parse_instant, parse_pairs, table

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(NAMES, VALUES))
def test_values_that_are_json_count_as_that(parameters):
    words = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    assert parse_pairs(words) == parameters


@given(NAMES, st.text())
def test_any_other_value_is_a_string(name, text):
    value = parse_pairs([f"{name}={text}"])[name]
    if isinstance(value, str):
        assert value == text or json.loads(text) == value


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=Surrey Hills", "Surrey Hills"),
        ("a=", ""),
        ("a=1", 1),
        ("a=b=c", "b=c"),
        ("a=NaN", "NaN"),
        ('a="1"', "1"),
        ("a=[1, 2]", [1, 2]),
    ],
)
def test_pairs(word, value):
    assert parse_pairs([word]) == {"a": value}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "12"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "12"),
        ({"$ref": "#/$defs/Name"}, "12"),
        ({"type": ["string", "null"]}, "12"),
        ({"type": "integer"}, 12),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 12),
        ({"anyOf": [{"type": "string"}, {}]}, 12),
        ({"$ref": "#/$defs/Loop"}, 12),
        ({}, 12),
        (True, 12),
    ],
)
def test_a_value_is_a_string_where_the_schema_takes_no_other(schema, value):
    definitions = {"Name": {"type": "string"}, "Loop": {"$ref": "#/$defs/Loop"}}
    whole = {"properties": {"name": schema}, "$defs": definitions}
    assert parse_pairs(["name=12"], whole) == {"name": value}
    assert parse_pairs(['name="12"', "other=1"], whole) == {"name": "12", "other": 1}


def test_null_stays_null_where_the_schema_takes_it():
    kinds = {"a": {"type": ["string", "null"]}, "b": {"type": "string"}}
    assert parse_pairs(["a=null", "b=null"], {"properties": kinds}) == {"a": None, "b": "null"}


@pytest.mark.parametrize("words", [["a=1", "a=2"], ["a=1", "file.json"], ["=1", "b=2"]])
def test_pairs_that_make_no_sense(words):
    with pytest.raises(UsageError):
        parse_pairs(words)


def test_one_word_without_an_equals_sign_is_a_file():
    assert not are_pairs(["file.json"])
    assert not are_pairs(["-"])
    assert not are_pairs(["./a=b/file.json"])
    assert are_pairs(["a=file.json"])


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31T10:00:00Z", NOW + timedelta(hours=1)),
        ("2026-01-31T10:00:00+01:00", NOW),
        ("+90s", NOW + timedelta(seconds=90)),
        ("+1.5h", NOW + timedelta(minutes=90)),
        ("+1d", NOW + timedelta(days=1)),
    ],
)
def test_instants(text, at):
    assert parse_instant(text, NOW) == at


@pytest.mark.parametrize("text", ["tomorrow", "2026-01-31T10:00:00", "+5", "5m"])
def test_instants_that_make_no_sense(text):
    with pytest.raises(UsageError, match=r"instant|time zone"):
        parse_instant(text, NOW)


def test_tables_are_aligned():
    assert table([("A", "B"), ("long", "x")]) == ["A     B", "long  x"]


def _parsers(parser: argparse.ArgumentParser, name: str = "usher"):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from _parsers(below, f"{name} {word}")


NAMES = [name for name, _ in _parsers(build_parser()) if name != "usher dev"]
"""`usher dev` becomes another process: tests/integration/test_usher_dev.py."""


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([*name.split()[1:], "--help"])
    assert left.value.code == 0
    assert len(capsys.readouterr().out) > 100


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["run"], ["run", "a", "--docker", "--process"]]
)
def test_wrong_use_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2


def test_what_may_be_left_out_is_not_asked_for(capsys):
    with pytest.raises(SystemExit):
        main(["invoke"])
    assert capsys.readouterr().err.endswith("the following arguments are required: JOB\n")


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_a_whole_number_from_1(limit, capsys):
    with pytest.raises(SystemExit) as left:
        main(["invocations", "--limit", limit])
    assert left.value.code == 2


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys, tmp_path):
    def interrupted(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr("usher.cli.project.find_project", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "usher: interrupted\n"


def test_the_exit_codes_of_the_help_are_those_of_the_guide():
    help_text = build_parser().format_help()
    guide = (Path(__file__).parents[3] / "docs" / "jobs.md").read_text(encoding="utf-8")
    section = guide.partition("### Exit codes of the command")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| (\d+) \|", section, re.MULTILINE))
    assert told == set(re.findall(r"^  (\d+)  ", help_text, re.MULTILINE)) != set()


def test_outside_of_a_project_it_says_what_makes_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["list"]) == 2
    assert "`usher new NAME` makes one" in capsys.readouterr().err


def test_the_jobs_of_a_project_are_listed_for_programs_too(capsys):
    project = Path(__file__).parents[2] / "integration" / "usher_project"
    code = main(["list", "--project", str(project), "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert code == (1 if listed["problems"] else 0)
    (echo,) = (job for job in listed["jobs"] if job["name"] == "echo")
    assert {"cpu", "memory", "timeoutSeconds", "parameters"} <= echo.keys()


def test_a_line_of_the_audit_has_no_control_characters_of_callers():
    record = {
        "at": "2027-01-15T08:00:00.000Z", "who": "api_key:ann\x1b[2J", "address": "192.0.2.7",
        "action": "invocation.kill", "resource": "invocations/1\n2", "outcome": "done",
        "before": {"job": "x", "state": "QUEUED"}, "after": {"job": "x", "state": "FINISHED"},
    }  # fmt: skip
    (line,) = table([audit_row(record)])
    assert line.split("  ") == [
        "2027-01-15 08:00:00Z", r"api_key:ann\u001b[2J", "192.0.2.7", "invocation.kill",
        r"invocations/1\n2", "done", "state: QUEUED to FINISHED",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs"], "usher has no command 'runs'; did you mean 'invocations'?"),
        (["invocaton"], "did you mean 'invocations'?"),
        (["schedule", "lst"], "usher schedule has no command 'lst'; did you mean 'list'?"),
        (["xyzzy"], "there are: new, list, "),
    ],
)
def test_a_misspelt_command_is_answered_with_the_one_that_is_meant(words, said, capsys):
    with pytest.raises(SystemExit) as exited:
        main(words)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


def test_every_alias_stands_for_a_command_and_is_none(capsys):
    for alias, command in ALIASES.items():
        with pytest.raises(SystemExit):
            main([alias])
        assert f"did you mean {command!r}?" in capsys.readouterr().err
