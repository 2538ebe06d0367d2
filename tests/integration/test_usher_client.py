"""The Python client and the command line against a dispatcher that loses answers."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import usher
from tests.integration.conftest import wait_until
from tests.integration.usher_fake import LOSE, ROOT, Call, environment, serve
from usher.transport import Patience

ID = "0b5a7c52-6a3e-8c1d-9f00-000000000001"


@dataclass
class FakeApi:
    """Answers by `METHOD path` in turn; the last one stays."""

    answers: dict[str, deque[Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    url: str = ""

    def on(self, what: str, *answers: Any) -> None:
        self.answers[what] = deque(answers)

    def respond(self, call: Call) -> Any:
        self.calls.append(call)
        planned = self.answers.get(f"{call.method} {call.path}")
        if not planned:
            return 404, {"error": {"code": "not_found", "message": f"no {call.path}"}}
        answer = planned.popleft() if len(planned) > 1 else planned[0]
        return None if answer == LOSE else answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    fake = FakeApi()
    with serve(fake):
        monkeypatch.setenv("USHER_URL", fake.url)
        yield fake


def invocation(state: str = "STARTED", **more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "job": "echo",
        "state": state,
        "createdAt": "2026-01-31T09:00:00.000Z",
        **more,
    }


BUSY = (503, {"error": {"code": "unavailable", "message": "later"}}, {"Retry-After": "0"})
MADE = (201, invocation("ACCEPTED"))


# The client


def test_an_invocation_is_asked_for_until_it_is_answered_and_made_once(api):
    api.on("POST /jobs/echo/invocations", BUSY, LOSE, (429, {}), MADE)
    at = datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert usher.invoke("echo", {"text": "a"}, at=at, priority="low") == ID
    keys = {call.headers["idempotency-key"] for call in api.calls}
    assert len(api.calls) == 4
    assert len(keys) == 1
    assert api.calls[0].body == {
        "parameters": {"text": "a"},
        "at": "2026-01-31T10:00:00.000+00:00",
        "priority": "low",
    }


def test_each_call_makes_up_a_key_of_its_own_and_keeps_a_given_one(api):
    api.on("POST /jobs/echo/invocations", MADE)
    usher.invoke("echo")
    usher.invoke("echo")
    usher.invoke("echo", idempotency_key="order-7")
    first, second, third = (call.headers["idempotency-key"] for call in api.calls)
    assert first != second
    assert third == "order-7"


def test_what_is_refused_is_not_repeated(api):
    refused = {"error": {"code": "invalid_parameters", "message": "text: Field required"}}
    api.on("POST /jobs/echo/invocations", (400, refused))
    with pytest.raises(usher.AnswerError, match="text: Field required") as caught:
        usher.invoke("echo")
    assert (caught.value.status, caught.value.code) == (400, "invalid_parameters")
    assert len(api.calls) == 1


def test_a_rerun_is_asked_for_until_it_is_answered_always_with_the_same_key(api):
    api.on(f"POST /invocations/{ID}/rerun", (429, {}), LOSE, MADE)
    usher.Client().rerun(ID)
    keys = {call.headers["idempotency-key"] for call in api.calls}
    assert (len(api.calls), len(keys)) == (3, 1)


def test_a_gateways_own_words_are_passed_on(api):
    api.on(f"GET /invocations/{ID}", (403, {"message": "Missing Authentication Token"}))
    with pytest.raises(usher.AnswerError, match=r"HTTP 403: .*Missing Authentication Token"):
        usher.Client().invocation(ID)


def test_nobody_there_is_told_after_some_tries():
    client = usher.Client("http://127.0.0.1:9", patience=Patience(tries=2))
    with pytest.raises(usher.UnreachableError, match=r"http://127\.0\.0\.1:9 does not answer"):
        client.jobs()


def test_an_instant_needs_a_time_zone():
    with pytest.raises(ValueError, match="at has no time zone"):
        usher.invoke("echo", at=datetime(2026, 1, 31))  # noqa: DTZ001


def test_a_wait_ends_with_the_invocation(api):
    usage = {"cpuSeconds": 1.5, "maxMemoryMib": 30, "wallSeconds": 2}
    ended = invocation("FINISHED", reason="succeeded", result={"a": 1}, exitCode=0, usage=usage)
    api.on(f"GET /invocations/{ID}", (200, invocation()), (200, ended))
    found = usher.wait(ID, timeout_seconds=10)
    assert found.succeeded
    assert found.result == {"a": 1}
    assert found.usage == usher.Usage(1.5, 30, 2)
    assert found.created_at == datetime(2026, 1, 31, 9, tzinfo=UTC)


def test_a_wait_is_bounded(api):
    api.on(f"GET /invocations/{ID}", (200, invocation()))
    with pytest.raises(usher.WaitTimeoutError, match=r"is still STARTED after 0\.3 s"):
        usher.wait(ID, timeout_seconds=0.3)


def test_pages_are_fetched_as_they_are_needed(api):
    api.on(
        "GET /invocations?job=echo&limit=100",
        (200, {"invocations": [invocation()] * 2, "next": "p2"}),
    )
    last = {"invocations": [invocation()], "next": None}
    api.on("GET /invocations?job=echo&limit=100&next=p2", (200, last))
    assert len(list(usher.Client().invocations(job="echo"))) == 3
    api.on("GET /invocations?limit=1", (200, {"invocations": [invocation()], "next": "p2"}))
    assert len(list(usher.Client().invocations(limit=1))) == 1


def test_all_schedules_are_listed_however_many_pages_they_are(api):
    def schedules(start, stop):
        names = [f"s{n:03}" for n in range(start, stop)]
        return [{"id": name, "job": "echo", "expression": "rate(1 day)"} for name in names]

    api.on("GET /schedules", (200, {"schedules": schedules(0, 100), "next": "s099"}))
    api.on("GET /schedules?next=s099", (200, {"schedules": [], "next": "s100"}))
    api.on("GET /schedules?next=s100", (200, {"schedules": schedules(100, 150), "next": None}))
    assert len({each.id for each in usher.Client().schedules()}) == 150


def test_all_jobs_are_listed_however_many_pages_they_are(api):
    api.on("GET /jobs", (200, {"jobs": [{"name": "alpha"}], "next": "beta"}))
    api.on("GET /jobs?next=beta", (200, {"jobs": [], "next": "gamma"}))
    api.on("GET /jobs?next=gamma", (200, {"jobs": [{"name": "zulu"}], "next": None}))
    assert [job.name for job in usher.Client().jobs()] == ["alpha", "zulu"]


@pytest.mark.parametrize("follow", [False, True])
def test_an_empty_page_in_the_middle_of_a_log_is_no_end(api, follow):
    path = f"GET /invocations/{ID}/logs"
    api.on(path, page("a", token="1"))
    api.on(f"{path}?next=1", page(token="2"))
    api.on(f"{path}?next=2", page(token="3"))
    api.on(f"{path}?next=3", page("b", token="4"))
    api.on(f"{path}?next=4", page(token="4", ended=True))
    assert [line.text for line in usher.logs(ID, follow=follow)] == ["a", "b"]


def test_a_log_that_goes_on_is_read_as_far_as_it_is(api):
    path = f"GET /invocations/{ID}/logs"
    api.on(path, page("a", token="1"))
    api.on(f"{path}?next=1", page(token="1"))
    assert [line.text for line in usher.logs(ID)] == ["a"]


def page(*texts: str, token: str | None = None, ended: bool = False) -> Any:
    lines = [{"at": "2026-01-31T09:00:00.000Z", "text": text} for text in texts]
    return 200, {"lines": lines, "next": token, "ended": ended}


def test_a_log_is_followed_to_its_end(api):
    api.on(f"GET /invocations/{ID}/logs", page("one", token="t1"))
    api.on(f"GET /invocations/{ID}/logs?next=t1", page(token="t1"), page("two", token="t2"))
    api.on(f"GET /invocations/{ID}/logs?next=t2", page(token="t2", ended=True))
    api.on(f"GET /invocations/{ID}", (200, invocation()))
    assert [line.text for line in usher.logs(ID, follow=True)] == ["one", "two"]


def test_a_log_that_is_not_followed_ends_where_it_is_now(api):
    api.on(f"GET /invocations/{ID}/logs", page("one", token="t1"))
    api.on(f"GET /invocations/{ID}/logs?next=t1", page(token="t1"))
    assert [line.text for line in usher.logs(ID)] == ["one"]


def test_following_the_log_of_what_never_ran_ends(api):
    api.on(f"GET /invocations/{ID}/logs", page())
    api.on(f"GET /invocations/{ID}", (200, invocation("EXPIRED", reason="expired")))
    assert list(usher.logs(ID, follow=True)) == []


def test_the_key_is_sent(api, monkeypatch):
    monkeypatch.setenv("USHER_API_KEY", "secret")
    api.on("GET /jobs", (200, {"jobs": []}))
    usher.Client().jobs()
    assert api.calls[0].headers["x-api-key"] == "secret"


# The command line


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "usher", *words],
        env=environment(**({"USHER_URL": os.environ["USHER_URL"]})),
        cwd=ROOT / "examples" / "jobs",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_invoke_and_follow(api):
    api.on("POST /jobs/echo/invocations", MADE)
    api.on(f"GET /invocations/{ID}/logs", page("one", ended=True))
    failed = invocation("FINISHED", reason="failed", exitCode=3, detail="it exited with 3")
    api.on(f"GET /invocations/{ID}", (200, failed))
    done = command("invoke", "echo", "text=a", "--at", "+10m", "--key", "k", "--follow")
    assert done.stdout.splitlines() == [ID, "one"]
    assert done.stderr == "usher: echo failed (exit 3): it exited with 3\n"
    assert done.returncode == 1
    body = api.calls[0].body
    assert body["parameters"] == {"text": "a"}
    ahead = datetime.fromisoformat(body["at"]) - datetime.now(UTC)
    assert timedelta(minutes=9) < ahead <= timedelta(minutes=10)


def test_a_wait_that_takes_too_long_has_its_own_exit_code(api):
    api.on(f"GET /invocations/{ID}", (200, invocation()))
    assert command("wait", ID, "--timeout", "0.2").returncode == 124


def test_show_tells_all(api):
    waiting = {"because": "3 go first", "ahead": 3, "nextTryAt": None}
    change = {"at": "2026-01-31T09:00:00.000Z", "state": "ACCEPTED", "cause": "asked"}
    api.on(f"GET /invocations/{ID}", (200, invocation("QUEUED", waiting=waiting, history=[change])))
    assert "waiting:     3 go first, 3 before it" in command("show", ID).stdout
    assert json.loads(command("show", ID, "--json").stdout)["history"] == [change]


def test_a_no_is_said_in_one_line(api):
    done = command("kill", ID)
    assert done.returncode == 1
    assert done.stderr == (
        f"usher: no /invocations/{ID}/kill (ids are UUIDs: `usher invocations` lists them; "
        "`usher open ID` finds what any id is of)\n"
    )


def test_a_listing_as_json_and_with_empty_pages(api):
    query = "GET /invocations?status=QUEUED&limit=2"
    api.on(query, (200, {"invocations": [], "next": "p2"}))
    api.on(f"{query}&next=p2", (200, {"invocations": [], "next": "p3"}))
    api.on(f"{query}&next=p3", (200, {"invocations": [invocation("QUEUED")], "next": None}))
    words = ("invocations", "--status", "QUEUED", "--limit", "2")
    done = command(*words, "--json")
    assert json.loads(done.stdout) == [invocation("QUEUED")]
    assert done.stderr == "usher: searching further back; Ctrl-C ends it\n"
    assert ID in command(*words).stdout


def test_waiting_says_what_for_once_each(api):
    waiting = {"because": "no capacity in the cluster", "ahead": 2, "nextTryAt": None}
    api.on(
        f"GET /invocations/{ID}",
        (200, invocation("QUEUED", waiting=waiting)),
        (200, invocation("QUEUED", waiting=waiting)),
        (200, invocation("LAUNCHED")),
        (200, invocation("STARTED")),
        (200, invocation("FINISHED", reason="succeeded")),
    )
    assert command("wait", ID).stderr.splitlines() == [
        "usher: QUEUED: no capacity in the cluster, 2 before it",
        "usher: its container is being started; an image that is not there yet is built or pulled",
        "usher: echo succeeded",
    ]


HEARS_SIGINT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from usher.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
"""The command with SIGINT enabled: a shell makes its background processes ignore it."""


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["invoke", "echo", "--follow"], "/logs"),
        (["logs", ID, "--follow"], "/logs"),
        (["wait", ID], ID),
    ],
)
def test_ctrl_c_while_following_leaves_the_run_alone(api, words, asked):
    api.on("POST /jobs/echo/invocations", MADE)
    api.on(f"GET /invocations/{ID}", (200, invocation("STARTED")))
    api.on(f"GET /invocations/{ID}/logs", page())
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS_SIGINT, *words],
        env=environment(USHER_URL=os.environ["USHER_URL"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if words[0] == "invoke":
        assert process.stdout.readline() == f"{ID}\n"
    wait_until(lambda: any(call.path.endswith(asked) for call in api.calls), what="the request")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 130
    assert log == (
        f"usher: interrupted; the run goes on: usher logs {ID} --follow shows it again, "
        f"usher kill {ID} ends it\n"
    )


JOBS = (200, {"jobs": [{"name": "price_alert"}, {"name": "export"}]})
UNKNOWN = (400, {"error": {"code": "unknown_job", "message": "no job is called 'price_alrt'"}})


def test_a_misspelt_job_is_answered_with_the_one_that_is_most_like_it(api):
    api.on("GET /jobs", JOBS)
    api.on("POST /jobs/price_alrt/invocations", UNKNOWN)
    api.on("GET /invocations?job=price_alrt&limit=20", (200, {"invocations": []}))
    asked = command("invoke", "price_alrt")
    assert asked.returncode == 1
    assert asked.stderr == ("usher: no job is called 'price_alrt'; did you mean 'price_alert'?\n")
    listed = command("invocations", "--job", "price_alrt")
    assert listed.returncode == 0
    assert listed.stderr == asked.stderr


def test_a_misspelt_app_is_answered_with_the_one_that_is_most_like_it(api):
    api.on("GET /apps", (200, {"apps": [{"name": "listings"}]}))
    asked = command("rollback", "listigns")
    assert asked.returncode == 1
    assert asked.stderr.endswith("; did you mean 'listings'?\n")
    api.on("GET /sessions?app=listigns&limit=50", (200, {"sessions": []}))
    listed = command("sessions", "--app", "listigns")
    assert listed.stderr == "usher: no app is called 'listigns'; did you mean 'listings'?\n"


def test_several_runs_are_killed_and_those_that_cannot_be_are_named(api):
    other = ID[:-1] + "2"
    api.on(f"POST /invocations/{ID}/kill", (200, invocation("FINISHED", reason="killed")))
    killed = command("kill", other, ID)
    assert killed.returncode == 1
    assert killed.stdout == f"{ID} killed\n"
    assert killed.stderr.startswith(f"usher: {other}: ")


@pytest.mark.parametrize(("kind", "sent"), [("string", "12"), ("integer", 12)])
def test_a_parameter_is_what_the_registered_schema_takes(api, kind, sent):
    schema = {"properties": {"name": {"type": kind}}}
    api.on("GET /jobs/echo", (200, {"name": "echo", "parameters": schema}))
    api.on("POST /jobs/echo/invocations", MADE)
    assert command("invoke", "echo", "name=12").returncode == 0
    assert api.calls[-1].body["parameters"] == {"name": sent}


def test_a_dispatcher_that_is_not_there_is_said_at_once_and_what_starts_one(api):
    done = command("kill", "--url", "http://127.0.0.1:9", ID)
    first, last = done.stderr.splitlines()
    assert first.endswith(
        "does not answer: [Errno 111] Connection refused; trying again for a while"
    )
    assert last.endswith(
        "(`make run` starts a local cloud; --url or USHER_URL name another dispatcher)"
    )
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (401, "unauthorized", " (USHER_API_KEY is sent as X-Api-Key)"),
        (400, "unknown_job", " (`usher deploy` registers the jobs of a project)"),
        (403, "forbidden", ""),
    ],
)
def test_a_refusal_says_what_may_help(api, status, code, advice):
    api.on("POST /jobs/echo/invocations", (status, {"error": {"code": code, "message": "no"}}))
    assert command("invoke", "echo").stderr == f"usher: no{advice}\n"


def test_schedules(api):
    schedule = {
        "id": "weekly",
        "job": "market_report",
        "expression": "cron(0 7 ? * MON *)",
        "timezone": "Australia/Melbourne",
        "overlap": "skip",
        "gap": "move",
        "misfireSeconds": 3600,
        "paused": False,
        "nextRuns": ["2026-02-01T20:00:00.000Z"],
        "lastPlannedAt": None,
        "lastInvocation": None,
    }
    api.on("PUT /schedules/weekly", (200, schedule))
    api.on("GET /schedules", (200, {"schedules": [schedule]}))
    api.on("POST /schedules/weekly/run", MADE)
    words = ["weekly", "market_report", "cron(0 7 ? * MON *)", "weeks=4"]
    done = command("schedule", "put", *words, "--timezone", "Australia/Melbourne")
    assert done.stdout.splitlines()[-1].startswith(
        "  2026-02-01 20:00:00Z  Mon 07:00 in Australia/Melbourne"
    )
    (put,) = [call for call in api.calls if call.method == "PUT"]
    assert put.body["parameters"] == {"weeks": 4}
    listed = command("schedule", "list").stdout
    assert "2026-02-01 20:00:00Z  Mon 07:00 in Australia/Melbourne" in listed
    assert json.loads(command("schedule", "list", "--json").stdout) == [schedule]
    api.on("GET /schedules/weekly", (200, schedule))
    assert json.loads(command("schedule", "show", "weekly", "--json").stdout) == schedule
    assert command("schedule", "run", "weekly").stdout == f"{ID}\n"


def test_deploy_to_a_local_cloud_registers_the_folder(api):
    for name in ("listing_export", "market_report"):
        api.on(f"PUT /jobs/{name}", (200, {"name": name, "revision": 4, "taskDefinition": "arn"}))
    done = command("deploy")
    assert done.stdout.splitlines() == [
        "registered listing_export, revision 4",
        "registered market_report, revision 4",
    ]
    body = api.calls[1].body
    assert body["image"] == f"dir:{ROOT}/examples/jobs"
    assert body["description"]["name"] == "market_report"
    assert body["description"]["parameters"]["properties"]["weeks"]["default"] == 12


def test_deploy_says_what_it_would_do_and_does_nothing(api):
    words = ["--image", "registry.example/jobs:7", "--push", "--dry-run"]
    done = command("deploy", "market_report", *words)
    build, push, put = done.stdout.splitlines()
    assert build.startswith("docker build --tag registry.example/jobs:7")
    assert push == "docker push registry.example/jobs:7"
    assert put.startswith(f"PUT {api.url}/jobs/market_report with the image")
    assert api.calls == []


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A docker command that records its arguments, and fails at those that the test sets."""
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "docker"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")

    def make(fails: str = "nothing") -> Any:
        script.write_text(
            f"""#!/bin/sh
echo "$@" >> {calls}
case "$1" in
    {fails}) echo "no space left on device" >&2; exit 1;;
    image) echo "elsewhere.example/jobs@sha256:aa"; echo "registry.example:5000/jobs@sha256:bb";;
esac
"""
        )
        script.chmod(0o755)
        return calls

    return make


def test_deploy_builds_pushes_and_registers_the_digest(api, docker):
    calls = docker()
    api.on("PUT /jobs/market_report", (200, {"name": "market_report", "revision": 2}))
    image = "registry.example:5000/jobs:7"
    done = command("deploy", "market_report", "--image", image, "--push", "--base", "python:3.13")
    assert done.stdout.splitlines() == [
        f"building {image}",
        f"pushing {image}",
        "registered market_report, revision 2",
    ]
    build, push, *_ = calls.read_text().splitlines()
    assert build.startswith(f"build --tag {image} --build-arg BASE_IMAGE=python:3.13 ")
    assert push == f"push {image}"
    assert api.calls[0].body["image"] == "registry.example:5000/jobs@sha256:bb"


@pytest.mark.parametrize(
    ("fails", "says"),
    [("build", "the image cannot be built"), ("push", "logged in to its registry?")],
)
def test_deploy_that_fails_at_docker_registers_nothing(api, docker, fails, says):
    docker(fails)
    done = command("deploy", "--image", "registry.example/jobs:7", "--push")
    assert done.returncode == 1
    assert says in done.stderr
    assert "no space left on device" in done.stderr
    assert api.calls == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--url", "https://usher.example"], "is not this machine: say --image"),
        (["nowhere"], "nothing was deployed: there is no job nowhere"),
        (["--push"], "--push needs --image"),
    ],
)
def test_deploy_that_makes_no_sense_is_wrong_use(api, words, says):
    done = command("deploy", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_deploy_that_is_refused_says_what_to_do(api):
    refused = {"error": {"code": "unauthorized", "message": "who are you?"}}
    api.on("PUT /jobs/market_report", (401, refused))
    done = command("deploy", "market_report")
    assert done.returncode == 1
    assert "market_report was not registered: who are you? (set USHER_API_KEY)" in done.stderr


def shown_schedule(**more: Any) -> dict[str, Any]:
    run = "2026-07-06T07:00:00.000+00:00"
    plain = {"id": "monday", "job": "echo", "expression": "cron(0 9 ? * MON *)", "nextRuns": [run]}
    return {**plain, "timezone": "Europe/Berlin", **more}


@pytest.mark.parametrize(
    ("before", "paused"),
    [
        ((404, {"error": {"code": "not_found", "message": "no such schedule"}}), False),
        ((200, shown_schedule(paused=False)), False),
        ((200, shown_schedule(paused=True)), True),
    ],
)
def test_a_schedule_that_is_put_again_stays_paused_and_shows_its_hours(api, before, paused):
    api.on("GET /schedules/monday", before)
    api.on("PUT /schedules/monday", (200, shown_schedule(paused=paused)))
    command = ["schedule", "put", "monday", "echo", "cron(0 9 ? * MON *)"]
    done = subprocess.run(
        [sys.executable, "-m", "usher", *command, "--timezone", "Europe/Berlin"],
        env=environment(USHER_URL=api.url, TZ="America/New_York"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert api.calls[-1].body["paused"] is paused
    assert ("it stays paused" in done.stderr) is paused
    assert "  2026-07-06 07:00:00Z  Mon 09:00 in Europe/Berlin  Mon 03:00 here" in done.stdout
