"""The main process of a job's container, as ECS starts it, against a dispatcher's words."""

import json
import signal
from collections.abc import Iterator

import pytest

from tests.integration.conftest import wait_until
from tests.integration.usher_fake import LOSE, Container, FakeDispatcher, is_alive, serve

START = "/invocations/5e1f/start"
FINISH = "/invocations/5e1f/finish"


@pytest.fixture
def fake() -> Iterator[FakeDispatcher]:
    fake = FakeDispatcher()
    with serve(fake):
        yield fake


def run(fake: FakeDispatcher, job: str, parameters=None, **limits):
    """Run a job to its end; returns the container's exit and its last report to the dispatcher."""
    fake.job, fake.parameters = job, parameters
    done = Container(fake, **limits).end()
    told = fake.requests_of("finish")
    return done, told[-1] if told else None


# The start permit


def test_a_job_runs_with_leave_and_tells_its_result(fake):
    done, told = run(fake, "echo", {"text": "ab", "times": 2})
    assert done.code == 0
    assert done.out == "echoing ab\n"
    assert done.log[0] == "usher: job=echo invocation=5e1f attempt=1 revision=7"
    assert done.log[-1].startswith("usher: finished outcome=succeeded exit=0 seconds=")
    assert told["outcome"] == "succeeded"
    assert told["exitCode"] == 0
    assert told["result"] == {"text": "abab"}
    assert 0 < told["usage"]["cpuSeconds"] < 30
    assert told["usage"]["maxMemoryMib"] > 5
    (asked,) = fake.requests_of("start")
    assert asked["attempt"] == 1
    assert asked["taskArn"].startswith("arn:aws:ecs:")
    assert len(bytes.fromhex(asked["process"])) == 16
    assert {call.body["process"] for call in fake.calls if call.body} == {asked["process"]}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_without_leave_nothing_runs(fake, tmp_path, status):
    fake.script(START, (status, {"error": {"code": "conflict", "message": "it has ended"}}))
    done, told = run(fake, "marks", {"file": str(tmp_path / "marks")})
    assert done.code == 75
    assert told is None
    assert not (tmp_path / "marks").exists()
    assert (
        f"usher: not run: not given the start permit: {status} conflict: it has ended" in done.log
    )


def test_it_asks_again_as_the_same_process_until_it_is_answered(fake, tmp_path):
    fake.script(START, 503, LOSE, 429, 408, (200, ["no", "permit"]))
    done, _told = run(fake, "marks", {"file": str(tmp_path / "marks")})
    assert done.code == 0
    assert len({asked["process"] for asked in fake.requests_of("start")}) == 1
    assert len(fake.requests_of("start")) == 6
    assert len((tmp_path / "marks").read_text().splitlines()) == 1


def test_a_dispatcher_that_never_answers_means_that_nothing_runs(fake, tmp_path):
    fake.script(START, *[503] * 50)
    done, _told = run(fake, "marks", {"file": str(tmp_path / "marks")}, permit_seconds=1.0)
    assert done.code == 75
    assert not (tmp_path / "marks").exists()
    assert "no start permit within 1 s" in done.log[-1]


def test_a_second_process_of_the_same_attempt_is_refused(fake, tmp_path):
    file = tmp_path / "marks"
    first, _ = run(fake, "marks", {"file": str(file)})
    second, _ = run(fake, "marks", {"file": str(file)})
    assert (first.code, second.code) == (0, 75)
    assert len(file.read_text().splitlines()) == 1


def test_told_to_stop_while_it_asks_it_runs_nothing(fake, tmp_path):
    fake.script(START, *[503] * 500)
    fake.job, fake.parameters = "marks", {"file": str(tmp_path / "marks")}
    container = Container(fake)
    wait_until(lambda: fake.requests_of("start"), what="a request for the start permit")
    container.stop()
    assert container.end().code == 75
    assert not (tmp_path / "marks").exists()


# Ends


@pytest.mark.parametrize(
    ("how", "code", "exits", "outcome", "detail"),
    [
        ("exits", 0, 0, "succeeded", "without a result"),
        ("exits", 3, 3, "failed", "exited with 3"),
        ("exits", 75, 1, "failed", "which is kept for jobs that were not run"),
        ("exits", 300, 44, "failed", "exited with 44"),
        ("exits", 256, 1, "failed", "exited with 1"),
        ("exits", -1, 255, "failed", "exited with 255"),
        ("exits", 2**31, 1, "failed", "exited with 1"),
        ("exits", 256 + 75, 1, "failed", "which is kept for jobs that were not run"),
        ("exits_as_a_float", 0, 1, "failed", "exited with 1"),
        ("exits_as_a_subclass", 512, 1, "failed", "exited with 1"),
        ("exits_unshowable", 0, 1, "failed", "exited with 1"),
        ("exits_with_none", 0, 0, "succeeded", "without a result"),
        ("exits_with_words", 0, 1, "failed", "exited with 1"),
        ("exits_hard", 7, 7, "failed", "exited with 7"),
        ("exits_hard", 0, 0, "succeeded", "without a result"),
        ("exits_hard", 143, 143, "failed", "exited with 143"),
        ("exits_hard", 137, 137, "failed", "exited with 137"),
        ("exits_with_empty_words", 0, 1, "failed", "exited with 1"),
        ("exits_with_true", 0, 1, "failed", "exited with 1"),
        ("exits_with_false", 0, 0, "succeeded", "without a result"),
        ("exits", 10**30, 1, "failed", "exited with"),
        ("exits", -(10**30), 1, "failed", "exited with"),
        ("exits_in_a_thread", 3, 0, "succeeded", ""),
        ("raises", 0, 1, "failed", "LookupError: nobody"),
        ("raises_unshowable", 0, 1, "failed", "Odd"),
        ("raises_with_str_that_exits", 0, 1, "failed", "Odd"),
        ("raises_much", 0, 1, "failed", "ValueError: xxx"),
        ("raises_half_a_pair", 0, 1, "failed", "ValueError: "),
        ("raises_keyboard_interrupt", 0, 1, "failed", "KeyboardInterrupt"),
        ("raises_generator_exit", 0, 1, "failed", "GeneratorExit"),
        ("raises_a_base_exception", 0, 1, "failed", "Own: mine"),
        ("raises_a_group", 0, 1, "failed", "ExceptionGroup: several"),
        ("raises_itself_as_its_cause", 0, 1, "failed", "ValueError: round"),
        ("recurses", 0, 1, "failed", "RecursionError"),
        ("is_killed", signal.SIGTERM, 143, "failed", "exited with 143"),
        ("is_killed", signal.SIGINT, 1, "failed", "KeyboardInterrupt"),
        ("is_killed", signal.SIGABRT, 134, "failed", "SIGABRT"),
        ("is_killed", signal.SIGRTMIN + 3, 165, "failed", "signal 37"),
        ("is_killed", signal.SIGUSR1, 138, "failed", "SIGUSR1"),
        ("crashes", 0, 139, "failed", "SIGSEGV"),
        ("returns_too_much", 0, 1, "failed", "the result has 200002 bytes as JSON"),
        ("returns_no_json", 0, 1, "failed", "the result is not JSON"),
        ("leaves_a_thread", 0, 0, "succeeded", ""),
    ],
)
def test_every_end_has_its_exit_code_and_words(fake, how, code, exits, outcome, detail):
    done, told = run(fake, "ends", {"how": how, "code": int(code)})
    assert done.code == exits
    assert told["exitCode"] == exits
    assert told["outcome"] == outcome
    assert detail in told["detail"]
    assert f"outcome={outcome} exit={exits} " in done.log[-1]


@pytest.mark.parametrize(
    "leaves",
    [
        "thread",
        "atexit",
        "pool",
        "processes",
        "loop",
        "fork",
        "printer",
        "double_fork",
        "queued_work",
        "asyncio_task",
        "process_pool",
        "manager",
        "deaf",
        "finalizer",
        "handler",
        "excepthook",
    ],
)
@pytest.mark.parametrize(
    ("then", "code", "outcome"),
    [("returns", 0, "succeeded"), ("raises", 1, "failed"), ("exits", 3, "failed")],
)
def test_it_ends_when_run_is_over_whatever_it_left(fake, leaves, then, code, outcome):
    done, told = run(fake, "lingers", {"leaves": leaves, "then": then})
    assert (done.code, told["outcome"], told["exitCode"]) == (code, outcome, code)
    assert told["result"] == ("returned" if then == "returns" else None)
    assert "last words" in done.out


def test_a_job_that_closes_low_descriptors_keeps_its_result(fake):
    done, told = run(fake, "closes", {"most": 64})
    assert (done.code, told["outcome"], told["result"]) == (0, "succeeded", "a result")


def test_a_job_that_closes_all_descriptors_has_not_succeeded(fake, tmp_path):
    file = tmp_path / "own"
    done, told = run(fake, "closes", {"most": 4096, "file": str(file)})
    assert (done.code, told["outcome"], told["exitCode"]) == (1, "failed", 1)
    assert "the job closed the pipe to its parent" in "\n".join(done.log)
    assert file.read_bytes() == b"", "its end is told to nobody else"


def test_an_exception_shows_the_jobs_own_frames(fake):
    done, _ = run(fake, "ends", {"how": "raises"})
    trace = "\n".join(done.log)
    assert "in _raises" in trace
    assert "usher/child.py" not in trace


def test_a_result_of_many_bytes_arrives_whole(fake):
    done, told = run(fake, "ends", {"how": "returns_much"})
    assert told["result"] == "é" * 65_000
    assert not any("not taken" in line for line in done.log)


def test_parameters_that_do_not_fit_run_nothing(fake):
    done, told = run(fake, "echo", {"text": "a", "times": 99, "more": 1})
    assert (done.code, told["outcome"], told["exitCode"]) == (65, "invalid", 65)
    assert "times: Input should be less than or equal to 10" in told["detail"]
    assert "more: Extra inputs are not permitted" in told["detail"]
    assert done.out == ""


def test_a_job_without_a_schema_takes_nothing(fake):
    done, told = run(fake, "looks", {"a": 1})
    assert (done.code, told["detail"]) == (65, "this job takes no parameters")


def test_a_job_that_is_not_in_the_image_fails_with_what_there_is(fake):
    done, told = run(fake, "missing")
    assert (done.code, told["outcome"]) == (1, "failed")
    assert "has no job 'missing'; there is: bomb, chatters, closes, commands," in told["detail"]


def test_the_job_sees_its_names_and_no_key(fake):
    _, told = run(fake, "looks")
    seen = told["result"]
    assert seen["environment"]["INVOCATION_ID"] == "5e1f"
    assert seen["environment"]["JOB_NAME"] == "looks"
    assert "INVOCATION_KEY" not in seen["environment"]
    assert not seen["seesKey"]
    assert seen["parameters"] is None
    assert seen["stdin"] == ""
    assert seen["leadsGroup"]
    assert seen["threads"] == 1


# Stops


def endless(fake, tmp_path, how, timeout=60.0, **limits):
    """An endless job that runs; the container and the job's note."""
    note = tmp_path / "note"
    fake.job, fake.timeout_seconds = "endless", timeout
    fake.parameters = {"file": str(note), "how": how}
    container = Container(fake, **limits)
    wait_until(lambda: note.exists() and "started" in note.read_text(), what="the job's start")
    child = int(note.read_text().split()[1])
    return container, note, child


def test_sigterm_lets_the_job_tidy_up(fake, tmp_path):
    container, note, child = endless(fake, tmp_path, "ends")
    container.stop()
    done = container.end()
    (told,) = fake.requests_of("finish")
    assert (done.code, told["outcome"], told["exitCode"]) == (143, "killed", 143)
    assert note.read_text() == "tidied up"
    assert not is_alive(child)


def test_a_job_that_returns_on_sigterm_was_killed_all_the_same(fake, tmp_path):
    container, _, _ = endless(fake, tmp_path, "returns")
    container.stop()
    assert container.end().code == 143
    assert fake.requests_of("finish")[0]["outcome"] == "killed"


@pytest.mark.parametrize("how", ["ignores", "leaves its group"])
def test_who_does_not_hear_sigterm_is_killed_after_the_grace(fake, tmp_path, how):
    container, _note, child = endless(fake, tmp_path, how, grace_seconds=0.4)
    container.stop()
    done = container.end()
    assert (done.code, fake.requests_of("finish")[0]["outcome"]) == (143, "killed")
    assert not is_alive(child)


def test_told_to_stop_it_exits_in_time_even_if_nobody_listens(fake, tmp_path):
    fake.script(FINISH, *[503] * 50)
    container, _, _ = endless(fake, tmp_path, "ends", stop_seconds=1.0)
    container.stop()
    done = container.end(seconds=10)
    assert done.code == 143
    assert "usher: the end was never told: the dispatcher has the exit code from ECS" in done.log


def test_a_second_signal_ends_it_at_once(fake, tmp_path):
    container, _, child = endless(fake, tmp_path, "ignores")
    container.stop(signal.SIGINT)
    container.stop(signal.SIGTERM)
    assert container.end(seconds=6).code == 143
    assert not is_alive(child)


def test_time_up(fake, tmp_path):
    container, _note, child = endless(fake, tmp_path, "ignores", timeout=1.5, grace_seconds=0.2)
    done = container.end()
    (told,) = fake.requests_of("finish")
    assert (done.code, told["outcome"], told["exitCode"]) == (124, "timed_out", 124)
    assert told["detail"] == "it was still running after 1.5 s"
    assert not is_alive(child)


@pytest.mark.parametrize("apart", [False, True])
def test_a_fork_bomb_is_gone_with_its_job(fake, apart):
    fake.timeout_seconds = 5  # for 150 forks on a busy machine
    done, told = run(fake, "bomb", {"apart": apart}, grace_seconds=0.2)
    assert (done.code, told["outcome"]) == (124, "timed_out")
    assert "exploded" in done.out
    # A forked process would have kept the pipe of its output open, and Container.end waiting.


def test_what_a_job_leaves_behind_ends_with_it(fake):
    _done, told = run(fake, "leaves")
    assert told["outcome"] == "succeeded"
    assert not [pid for pid in told["result"] if is_alive(pid)]


# Words


def test_the_end_is_reported_until_it_is_acknowledged(fake):
    fake.script(FINISH, LOSE, 503, LOSE)
    done, _told = run(fake, "echo", {"text": "a"})
    assert done.code == 0
    assert len(fake.requests_of("finish")) == 4
    assert len({json.dumps(body, sort_keys=True) for body in fake.requests_of("finish")}) == 1


def test_an_end_that_nobody_hears_is_in_the_exit_code(fake):
    fake.script(FINISH, *[503] * 50)
    done, _ = run(fake, "ends", {"how": "exits", "code": 9}, finish_seconds=0.5)
    assert done.code == 9
    assert "usher: the end was never told: the dispatcher has the exit code from ECS" in done.log
    assert "outcome=failed exit=9" in done.log[-1]


def test_progress_is_passed_on_once_a_second_and_the_last_one_at_the_end(fake):
    fake.script("/invocations/5e1f/progress", 500)
    _done, told = run(fake, "chatters")
    assert told["outcome"] == "succeeded"
    received = fake.requests_of("progress")
    assert 1 < len(received) <= 3 + told["usage"]["wallSeconds"]
    assert received[-1]["fraction"] is None
    assert received[-1]["message"] == "the end"


def test_what_a_job_prints_is_neither_kept_nor_changed(fake):
    done, told = run(fake, "prints", {"megabytes": 100})
    assert done.code == 0
    assert len(done.out) == 100 * 1024 * 1024
    assert told["result"] == 100


def test_an_environment_that_is_no_containers_runs_nothing(fake, monkeypatch):
    fake.job = ""
    done = Container(fake).end()
    assert done.code == 75
    assert done.log == ["usher: not run: not in the environment: JOB_NAME"]
