"""Options of all commands: --json, and documented exit codes."""

import re
from pathlib import Path

import pytest

from usher.cli.exit_codes import EXIT_CODES, codes_of, commands_of
from usher.cli.main import build_parser, main

COMMANDS = dict(commands_of(build_parser()))
WITHOUT_JSON = {
    "dev": "its stdout is one line in any case: READY and a JSON object",
    "completion": "prints a script for a shell",
}
GUIDE = Path(__file__).parents[3] / "docs" / "commands.md"


def test_every_command_prints_json_for_programs():
    lacking = {name for name, parser in COMMANDS.items() if "--json" not in _options(parser)}
    assert lacking == WITHOUT_JSON.keys()


def _options(parser):
    return parser._option_string_actions


def test_every_command_has_exit_codes_and_nothing_else_has():
    assert EXIT_CODES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "dev"])
def test_the_help_of_a_command_lists_its_exit_codes_and_wrong_use_is_2(name, capsys):
    with pytest.raises(SystemExit):
        main([*name.split(), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    _, _, listed = text.partition("Exit codes: ")
    assert [int(code) for code in re.findall(r"(?:^|; )(\d+) ", listed)] == list(codes_of(name))
    with pytest.raises(SystemExit) as left:
        main([*name.split(), "--no-such-option"])
    assert left.value.code == 2
    assert f"usage: usher {name}" in capsys.readouterr().err


def test_the_guide_lists_the_codes_that_a_command_has_beyond_0_1_2_and_130():
    section = GUIDE.read_text(encoding="utf-8").partition("## Exit codes")[2]
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section, re.MULTILINE))
    own = {code for name in EXIT_CODES for code in codes_of(name)}
    assert set(map(int, rows)) == own
    for name in EXIT_CODES:
        for code in codes_of(name).keys() - {0, 1, 2, 130}:
            assert f"`{name}" in rows[str(code)], (name, code)


def test_new_tells_programs_what_it_wrote(tmp_path, capsys):
    assert main(["new", "one", "--into", str(tmp_path / "a"), "--json"]) == 0
    assert main(["new", "--session", "two", "--into", str(tmp_path / "b"), "--json"]) == 0
    job, app = capsys.readouterr().out.split("}\n{")
    assert str(tmp_path / "a" / "jobs" / "one.py") in job
    assert str(tmp_path / "b" / "apps.toml") in app
    assert main(["new", "one", "--into", str(tmp_path / "a"), "--json"]) == 2
    assert capsys.readouterr().out == ""
