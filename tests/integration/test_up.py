"""`local up` from the outside: starting, ending, ports, and what a killed run leaves."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.integration.conftest import (
    ROOT,
    UpFailedError,
    launch,
    processes_of,
    request,
    up_command,
    wait_until,
)


def test_ready_line_says_where_everything_is(fixture_cloud):
    assert set(fixture_cloud.ready) == {
        "dispatcher", "aws", "stream", "page", "feed",
        "runtime", "isolation", "region", "run", "pid",
    }  # fmt: skip
    assert fixture_cloud.ready["pid"] == fixture_cloud.process.pid
    status, health = fixture_cloud.http("GET", "/health")
    assert status == 200
    assert health["pid"] == fixture_cloud.state()["dispatcher"]["pid"]


def test_what_up_says_wins_over_the_config_file_which_wins_over_nothing(fixture_cloud):
    _, health = fixture_cloud.http("GET", "/health")
    assert health["stage"] == "local"
    assert health["fixture"] == "from-file"


def test_the_pool_is_warm_when_ready_says_so(start_cloud):
    running = start_cloud(pool=2)
    status, session = running.http("GET", "/session")
    assert (status, session["warm"]) == (200, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ends_cleanly_on_a_signal(start_fixture_cloud, number):
    running = start_fixture_cloud()
    assert running.stop(number) == 0
    running.assert_nothing_left()
    assert not running.folder.exists()


def test_a_request_in_hand_is_answered_before_the_end(start_fixture_cloud):
    running = start_fixture_cloud()
    with socket.create_connection(_address(running.dispatcher)) as connection:
        connection.sendall(
            b"GET /slow?seconds=1 HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n"
            % _address(running.dispatcher)[1]
        )
        wait_until(lambda: running.client("dynamodb").scan(TableName="notes")["Items"])
        running.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"200 OK" in answer
    assert b"slept" in answer
    assert running.process.wait(30) == 0


def test_a_signal_while_starting_ends_it_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        up_command(),
        cwd=ROOT,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = process.stderr.readline()
    assert "started" in first
    run_id = next(path.name for path in (tmp_path / "usher").iterdir() if path.is_dir())
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert processes_of(run_id) == []
    assert not (tmp_path / "usher").exists()


def test_a_port_in_use_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            up_command(port=port),
            cwd=ROOT,
            env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert f"port {port} is in use" in ended.stderr
    assert not (tmp_path / "usher").exists()


def test_a_dispatcher_that_cannot_start_shows_its_last_words(tmp_path):
    project = tmp_path / "broken"
    (project / ".chalice").mkdir(parents=True)
    (project / ".chalice" / "config.json").write_text('{"version": "2.0", "app_name": "broken"}')
    (project / "infra").mkdir()
    (project / "infra" / "template.yaml").write_text(
        "Parameters: {Stage: {Type: String}}\n"
        "Resources: {C: {Type: 'AWS::ECS::Cluster', Properties: {ClusterName: usher-local}}}"
    )
    (project / "app.py").write_text("raise RuntimeError('a typo of mine')")
    with pytest.raises(UpFailedError) as failed:
        launch(tmp_path, project_dir=project)
    assert "exit 1" in str(failed.value)
    assert "a typo of mine" in str(failed.value)
    assert not (tmp_path / "usher").exists()


def test_after_a_sigkill_the_next_start_finds_and_removes_what_was_left(start_fixture_cloud):
    killed = start_fixture_cloud()
    task = _run_task(killed, wait=True)
    processes = processes_of(killed.run_id)
    assert len(processes) >= 2
    killed.process.kill()
    killed.process.wait()
    assert (killed.folder / killed.run_id).exists()
    following = start_fixture_cloud()
    assert processes_of(killed.run_id) == [], f"processes of task {task}"
    assert not (killed.folder / killed.run_id).exists()
    assert any("1 dead run " in line for line in following.errors)


def test_a_second_signal_ends_it_at_once_and_leaves_the_rest_to_the_next_start(
    start_fixture_cloud,
):
    running = start_fixture_cloud()
    _run_task(running, wait=True)
    running.process.send_signal(signal.SIGINT)
    wait_until(lambda: any("stopping" in line for line in running.errors))
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 130
    wait_until(lambda: not processes_of(running.run_id))
    following = start_fixture_cloud()
    assert any("1 dead run " in line for line in following.errors)
    assert not (running.folder / running.run_id).exists()


def test_a_task_that_ignores_sigterm_does_not_hold_up_the_end(start_fixture_cloud):
    running = start_fixture_cloud()
    _run_task(running, wait=True)
    started = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - started < 20
    running.assert_nothing_left()


def test_a_feed_file_that_is_not_there_is_said_before_anything_starts(tmp_path):
    with pytest.raises(UpFailedError, match="neither demo, none nor a file"):
        launch(tmp_path, feed=tmp_path / "missing.jsonl")


def test_a_service_that_nobody_can_serve_is_said_with_those_that_can_be(tmp_path):
    with pytest.raises(UpFailedError, match="'s4' cannot be served from elsewhere: dynamodb,"):
        launch(tmp_path, aws_service="s4=http://127.0.0.1:1")


def test_a_service_that_does_not_answer_is_said_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UpFailedError) as failed:
        launch(tmp_path, aws_service=f"sqs={url}")
    assert f"cannot start: sqs is served from {url}: no answer" in str(failed.value)
    assert "exit 1" in str(failed.value)
    assert "started" not in str(failed.value)
    assert not (tmp_path / "usher").exists()


def test_a_second_run_leaves_the_first_alone(start_fixture_cloud):
    first = start_fixture_cloud()
    second = start_fixture_cloud()
    assert not any("dead run" in line for line in second.errors)
    assert second.stop() == 0
    second.assert_nothing_left()
    assert first.http("GET", "/health")[0] == 200
    assert (first.folder / first.run_id).exists()


def test_ps_and_feed_find_the_running_cloud(fixture_cloud):
    environment = os.environ | {"XDG_RUNTIME_DIR": str(fixture_cloud.folder.parent)}
    environment.pop("AWS_ENDPOINT_URL", None)
    shown = subprocess.run(
        [sys.executable, "-m", "local", "ps"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert shown.stdout.startswith("TASK")
    fed = subprocess.run(
        [sys.executable, "-m", "local", "feed", "-", "--stream", "records"],
        cwd=ROOT, env=environment, input='{"id": 1}\n', capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert fed.returncode == 0, fed.stderr


@pytest.mark.parametrize("path", ["/_local/faults", "/", "/bucket/key"])
@pytest.mark.parametrize("header", [{"Origin": "http://x.test"}, {"Sec-Fetch-Site": "same-origin"}])
def test_web_pages_cannot_reach_the_endpoint(fixture_cloud, path, header):
    status, _ = request("PUT", fixture_cloud.aws + path, {}, header)
    assert status == 403


def _address(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def _run_task(running, *, wait):
    """Start a task that would run for long, without the dispatcher's help."""
    ecs = running.client("ecs")
    ecs.register_task_definition(
        family="sleeper",
        containerDefinitions=[
            {
                "name": "sleeper",
                "image": "usher-session",
                "memory": 64,
                "essential": True,
                "entryPoint": [
                    "python",
                    "-c",
                    "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
                ],
            }
        ],
    )
    answer = ecs.run_task(cluster="usher-local", taskDefinition="sleeper")
    assert not answer["failures"], answer["failures"]
    arn = answer["tasks"][0]["taskArn"]
    if wait:
        wait_until(
            lambda: any(
                task["taskArn"] == arn and task["lastStatus"] == "RUNNING"
                for task in running.tasks()
            ),
            what=f"{arn} running",
        )
    return arn
