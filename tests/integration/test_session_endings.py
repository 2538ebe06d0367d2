"""The end of a session has a correct reason in words, even when its logs are lost."""

import json
import os
import subprocess
import sys

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.kinesis_server import FakeKinesis
from tests.session_process import ROOT, CallbackServer, SessionProcess, until


@pytest.mark.parametrize("shards", [1, 3])
def test_a_stream_deleted_under_a_client_is_told_in_words(shards):
    with (
        FakeKinesis(shards=shards) as kinesis,
        CallbackServer() as callbacks,
        SessionProcess(kinesis, callbacks) as session,
        connect(session.until_ready().url) as websocket,
    ):
        assert json.loads(websocket.recv(10))["type"] == "hello"
        kinesis.delete()
        messages = []
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - received until then
            while True:
                messages.append(json.loads(websocket.recv(30)))
        assert session.exit_code() == 1
    assert closed.value.rcvd.code == 1011
    bye = messages[-1]
    assert (bye["type"], bye["reason"]) == ("bye", "feed_failed")
    assert "ResourceNotFoundException" in bye["detail"]
    assert "TaskGroup" not in bye["detail"]
    assert callbacks.accepted[-1]["detail"] == bye["detail"]


def redirections(name):
    if name == "full disk":
        full = os.open("/dev/full", os.O_WRONLY)
        return {"stdout": full, "stderr": full}
    if name == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
        return {"stdout": writer, "stderr": writer}
    return {"preexec_fn": lambda: (os.close(1), os.close(2))}


@pytest.mark.parametrize("name", ["full disk", "closed pipe", "closed"])
def test_logs_that_nobody_takes_change_no_exit_code(name):
    with FakeKinesis() as kinesis, CallbackServer() as callbacks:
        base = SessionProcess.environment(kinesis, callbacks)
        process = subprocess.Popen(
            [sys.executable, "-m", "session_handler"],
            env=base | {"CONNECT_DEADLINE_SECONDS": "0.5"},
            cwd=ROOT,
            **redirections(name),
        )
        try:
            until(lambda: "stopping" in callbacks.types, "the end of the session")
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()


def test_wrong_settings_exit_with_2_though_nobody_hears_why():
    process = subprocess.run(
        [sys.executable, "-m", "session_handler"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=30,
        **redirections("full disk"),
    )
    assert process.returncode == 2
