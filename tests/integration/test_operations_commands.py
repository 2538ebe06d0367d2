"""`usher tail` on real containers, and the commands for operators, as processes."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import threading

import pytest

from tests.drops import Dispatcher
from tests.integration.test_usher_client import (
    HEARS_SIGINT,
    ID,
    FakeApi,
    api,
    command,
    invocation,
)
from tests.integration.usher_fake import ROOT, environment
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_fish, needs_zsh
from tests.session_process import until
from usher.cli.main import main

__all__ = ["api"]  # the fixture

SESSION = {
    **{"id": ID, "app": "listings", "state": "ACTIVE", "owner": "ip:1.2.3.4", "revision": 7},
    "createdAt": "2026-01-31T09:00:00.000Z",
    "host": "arn:aws:ecs:eu-west-1:1:container-instance/usher/abc",
}
OVERVIEW = {
    **{"at": "2026-01-31T09:00:00.000Z", "sweep": None, "deadLetters": {"launches": 2}},
    "sessions": {"live": 7},
    "jobs": {
        **{"waiting": {"normal": 0}, "oldestWaitingSince": None, "running": 2, "capacity": 9},
    },
}


class Tail:
    """`usher tail` in a process; `lines` are what it printed."""

    def __init__(self, dispatcher, *words, key=None):
        url = dispatcher.url.removesuffix("/session?app=listings")
        more = {"USHER_URL": url, **({"USHER_API_KEY": key} if key else {})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "usher", "tail", "listings", "--json", *map(str, words)],
            env=environment(**more),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines, self.errors = [], []
        self.readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line)

    @property
    def numbers(self):
        return [json.loads(line)["data"]["n"] for line in self.lines]

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        code = self.process.wait(30)
        for reader in self.readers:
            reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


def is_followed(kinesis):
    """A condition: the feed has begun for a client, which is told that by `hello` and not by its
    connection. Records that were put before may not come.
    """
    return lambda: kinesis.calls["GetRecords"] > 0


def test_tail_goes_on_after_ctrl_c_where_it_was_and_prints_each_record_once(tmp_path):
    file = tmp_path / "listings.cursor"
    with FakeKinesis() as kinesis, Dispatcher(kinesis, RECONNECT_GRACE_SECONDS=30) as world:
        with Tail(world, "--cursor-file", file) as tail:
            until(is_followed(kinesis), "a client whose feed has begun")
            for number in range(400):
                kinesis.put({"n": number})
            until(lambda: tail.lines, "the first records")
            world.links[0].cut()  # continues in the same container
            for number in range(400, 600):
                kinesis.put({"n": number})
            until(lambda: len(tail.lines) > 400, "records after the cut")
            assert tail.end() == 130
            seen = tail.numbers
            assert f"--cursor-file {file} goes on here" in "".join(tail.errors)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for number in range(600, 700):
            kinesis.put({"n": number})
        with Tail(world, "--cursor-file", file) as tail:
            until(lambda: len(seen) + len(tail.lines) >= 700, "the rest")
            assert tail.end(signal.SIGTERM) == 130
            assert seen + tail.numbers == list(range(700))
        assert os.listdir(tmp_path) == ["listings.cursor"]


def test_tail_filters_and_ends_after_a_limit_and_tells_no_secret():
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        words = ("--filter", "odd=1", "--limit", "2")
        with Tail(world, *words, key="the-api-key") as tail:
            until(is_followed(kinesis), "a client whose feed has begun")
            for number in range(10):
                kinesis.put({"n": number, "odd": number % 2})
            assert tail.process.wait(30) == 0
            until(lambda: len(tail.lines) == 2, "its output")
            assert tail.numbers == [1, 3]
        told = "".join([*tail.lines, *tail.errors, *world.sessions[0].lines])
        assert "the-api-key" not in told
        assert world.sessions[0].uuid not in "".join([*tail.lines, *tail.errors])


def test_a_cursor_that_is_none_is_an_error_and_no_loop():
    with (
        FakeKinesis() as kinesis,
        Dispatcher(kinesis) as world,
        Tail(world, "--from", "nonsense") as tail,
    ):
        assert tail.process.wait(30) == 1
        until(lambda: tail.errors, "its error")
        assert "refuses the cursor" in tail.errors[-1]


@pytest.mark.parametrize("words", [("--filter", "{"), ("--limit", "0"), ("--filter", '{"a": []}')])
def test_wrong_use_of_tail_exits_with_2(words):
    done = command_at("http://127.0.0.1:1", "tail", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("usher: --")


def command_at(url, *words):
    return subprocess.run(
        [sys.executable, "-m", "usher", *words, "--url", url],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_sessions_hosts_and_top_for_people_and_for_programs(api: FakeApi):
    more = {**SESSION, "owner": "\x1b[2Jevil", "id": "other"}
    api.on("GET /sessions?app=listings&limit=50", (200, {"sessions": [SESSION], "next": "c"}))
    api.on("GET /sessions?app=listings&limit=50&next=c", (200, {"sessions": [more], "next": None}))
    shown = command("sessions", "--app", "listings").stdout
    assert f"{ID}  listings  ACTIVE" in shown
    assert "\x1b" not in shown
    told = json.loads(command("sessions", "--app", "listings", "--json").stdout)
    assert told == [SESSION, more]
    change = {"at": "2026-01-31T09:00:00.000Z", "state": "ACTIVE", "cause": "connected"}
    api.on(f"GET /sessions/{ID}/history", (200, {**SESSION, "history": [change]}))
    assert "ACTIVE     connected" in command("sessions", ID).stdout
    host = {"id": "abc", "status": "ACTIVE", "connected": True, "leaving": True}
    api.on("GET /hosts?limit=100", (200, {"hosts": [host], "next": None}))
    assert "abc" in command("hosts").stdout
    assert json.loads(command("hosts", "--json").stdout) == [host]
    apps = [{"name": "listings", "state": "proven", "revision": 7}]
    api.on("GET /overview", (200, OVERVIEW))
    api.on("GET /apps", (200, {"apps": apps}))
    done = command("top")  # in a pipe: once
    assert (done.returncode, done.stderr) == (0, "")
    assert "! 2 messages about launches given up: queue usher-STAGE-launches-dead" in done.stdout
    assert "2 of 9 running" in done.stdout
    assert "\x1b" not in done.stdout
    document = json.loads(command("top", "--json").stdout)
    assert document["overview"] == OVERVIEW
    assert len(document["problems"]) == 2


def test_capacity_for_people_and_for_programs(api: FakeApi):
    amount = {"places": 5, "cpu": 16, "memory": 32}
    names = ("taken", "guaranteed", "maximum", "borrowed")
    group = {"name": "live", "tier": "critical", "waiting": 3, "secondsBetweenStarts": None}
    groups = [group | dict.fromkeys(names, amount)]
    api.on("GET /overview", (200, {**OVERVIEW, "groups": groups}))
    assert "live   critical  5/16/32" in command("capacity").stdout
    assert json.loads(command("capacity", "--json").stdout) == groups
    api.on("GET /overview", (200, {**OVERVIEW, "groups": []}))
    assert command("capacity").stdout == "this deployment has no capacity groups\n"


def test_top_in_a_narrow_terminal_is_drawn_again_until_ctrl_c(api: FakeApi):
    name = "a-name-that-is-much-longer-than-the-terminal\x1b]0;title\x07"
    api.on("GET /overview", (200, OVERVIEW))
    api.on("GET /apps", (200, {"apps": [{"name": name, "state": "proven", "revision": 7}]}))
    near, far = pty.openpty()
    variables = environment(USHER_URL=api.url, COLUMNS="30", LINES="12")
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS_SIGINT, "top", "--interval", "0.2"],
        env=variables,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=far,
        stderr=subprocess.PIPE,
    )
    os.close(far)
    seen = b""
    while seen.count(b"\x1b[H\x1b[2J") < 3:
        seen += os.read(near, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    os.close(near)
    process.stderr.close()
    screen = seen.decode().split("\x1b[H\x1b[2J")[1]
    lines = screen.split("\r\n")
    assert max(map(len, lines)) <= 30
    assert len(lines) <= 12
    assert "\x1b" not in screen


def test_open_finds_what_an_id_is_of(api: FakeApi):
    api.on(f"GET /invocations/{ID}", (200, invocation()))
    assert command("open", ID).stdout == f"{api.url}/console/invocations/{ID}\n"
    api.on("GET /schedules/every%2Fday", (200, {}))
    told = json.loads(command("open", "every/day", "--json").stdout)
    assert told["kind"] == "schedule"
    assert told["url"].endswith("/console/schedules/every%2Fday")
    assert command("open").stdout == f"{api.url}/console\n"
    done = command("open", "nothing")
    assert (done.returncode, done.stderr) == (
        1,
        "usher: no invocation, session, app, job, schedule, assignment, host has the id or name "
        "'nothing'\n",
    )


UNKNOWN = (404, {"error": {"code": "not_found", "message": "no such thing"}})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("explain nope", "neither a session nor an invocation has the id 'nope' (ids are UUIDs: "),
        ("explain nope", "--app and --job take names; `usher open ID` finds what any id is of)"),
        ("sessions nope", "no such thing (ids are UUIDs: `usher sessions` lists them; "),
        ("show nope", "no such thing (ids are UUIDs: `usher invocations` lists them; "),
        ("logs nope", "`usher open ID` finds what any id is of)"),
        ("kill nope", "`usher open ID` finds what any id is of)"),
        ("rerun nope", "`usher open ID` finds what any id is of)"),
        ("wait nope", "`usher open ID` finds what any id is of)"),
        ("schedule pause nitely", "no such thing; did you mean 'nightly'?"),
        ("schedule pause nightly", "usher: no such thing\n"),
        ("assignment show anagram", "no such thing; did you mean 'anagrams'?"),
        ("explain --app listing", "no such thing; did you mean 'listings'?"),
    ],
)
def test_who_names_what_is_not_there_is_told_what_there_is(api: FakeApi, words, said, capsys):
    for request in (
        *(f"GET /{kind}/nope/placement" for kind in ("sessions", "invocations")),
        *("GET /sessions/nope/history", "GET /invocations/nope", "GET /invocations/nope/logs"),
        *("POST /invocations/nope/kill", "POST /invocations/nope/rerun"),
        *("POST /schedules/nitely/pause", "POST /schedules/nightly/pause"),
        *("GET /assignments/anagram",),
    ):
        api.on(request, UNKNOWN)
    unknown = (400, {"error": {"code": "unknown_app", "message": "no such thing"}})
    api.on("GET /placement?app=listing&more=1", unknown)
    api.on("GET /schedules", (200, {"schedules": [{"id": "nightly"}]}))
    api.on("GET /assignments?limit=50", (200, {"assignments": [{"id": "anagrams"}]}))
    api.on("GET /apps", (200, {"apps": [{"name": "listings"}]}))
    assert main(words.split()) == 1
    assert said in capsys.readouterr().err


SCRIPTS = {
    "bash": """
source <(usher completion bash)
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _usher; echo "${COMPREPLY[@]}"; }
ask usher invoke ma; ask usher invoke ''; ask usher ta; ask usher invoke --prio
""",
    "zsh": """
autoload -Uz compinit && compinit -D -u
source <(usher completion zsh)
compadd() { shift; print -r -- $@ }
_files() { print files }
ask() { words=("$@"); CURRENT=$#; _usher }
ask usher invoke ma; ask usher invoke ''; ask usher ta; ask usher invoke --prio
""",
    "fish": """
usher completion fish | source
for line in "usher invoke ma" "usher invoke " "usher ta" "usher invoke --prio"
    echo (complete -C $line)
end
""",
}
"""Code that a shell runs at Tab; zsh's own completion system reads the arguments of compadd."""


@pytest.mark.parametrize(
    "shell", ["bash", needs_zsh.parameter("zsh"), needs_fish.parameter("fish")]
)
def test_a_shell_completes_commands_options_and_names(api: FakeApi, tmp_path, shell):
    api.on("GET /jobs", (200, {"jobs": [{"name": "market_report"}, {"name": "$(touch evil)"}]}))
    wrapper = tmp_path / "usher"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m usher "$@"\n')
    wrapper.chmod(0o755)
    variables = environment(USHER_URL=api.url, HOME=str(tmp_path))
    variables["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    variables["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [shell, "-c", SCRIPTS[shell]],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["market_report", "market_report", "tail", "--priority"]
    assert not (tmp_path / "evil").exists()
