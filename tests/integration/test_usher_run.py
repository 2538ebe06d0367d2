"""`usher run` as a process: limits, exit codes and log lines as on ECS, without a dispatcher."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import wait_until
from tests.integration.usher_fake import PROJECT, ROOT, Done, environment, is_alive
from usher.cpu import NICER_BY

EXAMPLES = ROOT / "examples" / "jobs"


def start(*words, project=PROJECT, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "usher", "run", "--project", str(project), *words],
        env=environment(),
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(*words, told=None, **options):
    process = start("--process", *words, stdin=subprocess.PIPE if told else None, **options)
    out, log = process.communicate(told, timeout=60)
    return Done(process.returncode, out, log.splitlines())


def test_it_prints_the_result_and_logs_as_on_ecs():
    done = run("echo", "text=ab", "times=2")
    assert done.code == 0
    assert done.out == 'echoing ab\n{\n  "text": "abab"\n}\n'
    assert done.log[0].startswith("usher: as a process: cpu 256 (")
    assert (
        "its /tmp is not bounded, on ECS it has 64 MiB, which count towards memory" in done.log[0]
    )
    assert done.log[1] == "usher: job=echo invocation=local attempt=1 revision=0"
    assert "usher: progress 50% 1" in done.log
    assert done.log[-1].startswith("usher: finished outcome=succeeded exit=0 seconds=")


def test_programs_get_one_document_and_the_jobs_own_output_beside_it(tmp_path):
    file = tmp_path / "result.json"
    done = run("echo", "text=ab", "times=2", "--json", "--result", str(file))
    told = {"job": "echo", "exitCode": 0, "result": {"text": "abab"}}
    assert (done.code, json.loads(done.out)) == (0, told)
    assert "echoing ab" in done.log
    assert json.loads(file.read_text()) == told["result"]
    failed = run("ends", "how=exits", "code=3", "--json")
    assert (failed.code, json.loads(failed.out)["exitCode"]) == (3, 3)
    assert run("nowhere", "--json").out == ""


def test_parameters_come_from_a_file_or_from_stdin(tmp_path):
    file = tmp_path / "parameters.json"
    file.write_text('{"text": "file"}')
    result = tmp_path / "result.json"
    assert run("echo", str(file), "--result", str(result)).out == "echoing file\n"
    assert json.loads(result.read_text()) == {"text": "file"}
    assert run("echo", '{"text": "a=b"}').out.startswith("echoing a=b\n")
    assert run("echo", "-", told='{"text": "stdin"}').out.startswith("echoing stdin\n")


@pytest.mark.parametrize(("size", "code"), [(65_536, 0), (65_537, 2)])
def test_parameters_are_as_long_here_as_they_may_be_on_aws(tmp_path, size, code):
    file = tmp_path / "parameters.json"
    empty = len('{"text":""}')
    file.write_text(json.dumps({"text": "é" + "x" * (size - empty - 2)}, indent=4))
    done = run("echo", str(file))
    assert done.code == code
    assert code == 0 or "65537 bytes of JSON, at most 65536 are taken" in done.log[-1]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["echo", "text=a", "times=11"], 65, "times: Input should be less than or equal to 10"),
        (["echo"], 65, "text: Field required"),
        (["ends", "how=exits", "code=3"], 3, "it exited with 3"),
        (["ends", "how=raises"], 1, "LookupError: nobody"),
        (["ends", "how=is_killed", f"code={int(signal.SIGKILL)}"], 137, "ended by SIGKILL"),
        (["nowhere"], 2, "has no job 'nowhere'; there is: bomb,"),
        (["echo", "missing.json"], 2, "No such file or directory: 'missing.json'"),
        (["echo", "nonsense"], 2, "parameters are name=value, a file of JSON, or -: No such file"),
        (["echo", "a=1", "nonsense"], 2, "'nonsense' is not name=value"),
    ],
)
def test_exit_codes_are_those_on_ecs(words, code, says):
    done = run(*words)
    assert done.code == code
    assert any(says in line for line in done.log)


def test_a_log_that_cannot_be_written_does_not_change_the_end(tmp_path):
    result = tmp_path / "result.json"
    words = ["--process", "echo", "text=a", "--result", str(result)]
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = subprocess.run(
            [sys.executable, "-m", "usher", "run", "--project", str(PROJECT), *words],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    assert json.loads(result.read_text()) == {"text": "a"}
    assert "some of what the job printed is lost" in process.stderr


def test_empty_lines_and_a_last_line_without_its_end_are_lines():
    done = run("recites", "text=one\n\n\ntwo")
    assert done.out == "one\n \n \ntwo\n"


def test_where_both_streams_are_one_file_their_lines_are_in_order():
    words = ["commands", "command=for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done"]
    process = subprocess.run(
        [sys.executable, "-m", "usher", "run", "--project", str(PROJECT), "--process", *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith(("out", "err"))]
    assert lines == [f"{stream} {i}" for i in range(1, 9) for stream in ("out", "err")]


@pytest.mark.parametrize("text", ["12", "true", "[1]", "1e3"])
def test_a_parameter_that_takes_text_is_given_as_typed(text):
    done = run("echo", f"text={text}", "times=2")
    assert (done.code, done.out.splitlines()[0]) == (0, f"echoing {text}")


def test_wrong_use_is_said_in_one_line():
    assert len(run("echo", "a=1", "nonsense").log) == 1


@pytest.mark.parametrize("children", [0, 3])
def test_a_job_that_takes_more_memory_than_it_declared_is_killed(children):
    done = run("hog", f"children={children}")
    assert done.code == 137
    assert (
        "usher: OutOfMemoryError: Container killed due to memory usage (its limit is 96 MiB)"
        in done.log
    )
    assert "outcome=failed exit=137" in done.log[-1]


def test_cpu_is_limited_as_it_says():
    done = run("confined")
    assert done.code == 0
    found = json.loads(done.out)
    if "by a control group" in done.log[0]:
        assert found["quotas"] == ["25000"]  # of 100,000: a quarter of a core
    else:
        assert "only by keeping it on 1 core, with less priority" in done.log[0]
        assert (found["cores"], found["nice"]) == (1, os.nice(0) + NICER_BY)
    left = [int(group.name[10:]) for group in Path("/sys/fs/cgroup").glob("*/usher-run-*")]
    assert [pid for pid in left if not is_alive(pid)] == []


def test_ctrl_c_kills_the_job_and_all_of_it(tmp_path):
    note = tmp_path / "note"
    process = start("--process", "endless", f"file={note}")
    wait_until(lambda: note.exists() and "started" in note.read_text(), what="the job's start")
    child = int(note.read_text().split()[1])
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "outcome=killed exit=143" in log
    assert note.read_text() == "tidied up"
    assert not is_alive(child)


def test_a_job_does_not_live_on_when_usher_is_killed(tmp_path):
    note = tmp_path / "note"
    process = start("--process", "endless", f"file={note}", "how=ignores")
    wait_until(lambda: note.exists() and "started" in note.read_text(), what="the job's start")
    (job,) = _children(process.pid)
    sleeper = int(note.read_text().split()[1])
    process.kill()
    process.wait(20)
    try:
        wait_until(lambda: not is_alive(job), what="the job's end")
    finally:
        os.kill(sleeper, signal.SIGKILL)  # what the job started is on its own then
        process.communicate(timeout=20)


def _children(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_the_examples_run(tmp_path):
    report = tmp_path / "report.json"
    done = run("market_report", "weeks=4", "--result", str(report), project=EXAMPLES)
    assert done.code == 0
    assert len(json.loads(report.read_text())["weeks"]) == 4
    output = tmp_path / "listings.csv"
    words = ["listing_export", 'suburbs=["fernbank"]', f"output={output}"]
    done = run(*words, project=EXAMPLES)
    result = json.loads(done.out)
    assert result["written"] == len(output.read_text().splitlines()) - 1


@pytest.mark.listings
@pytest.mark.skipif(
    not (ROOT.parent / "shared/data/listings.jsonl").exists(), reason="no property records here"
)
def test_the_report_on_real_records():
    source = ROOT.parent / "shared/data/listings.jsonl"
    done = run("market_report", f"source={source}", project=EXAMPLES)
    assert done.code == 0
    assert "| Reservoir |" in done.out
