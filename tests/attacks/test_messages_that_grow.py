"""A session's client sends messages that are small on the network and large in memory.

Goal: use up its host's memory and end other sessions. Reach: compressed frames, fragments, and
deeply nested JSON, in a session whose app enables compression.
"""

import json
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from tests.session_process import SessionProcess

MOST_MIB = 12
"""More than that a session must not grow by what a client sends."""


@pytest.fixture
def session():
    with SessionProcess(RECONNECT_GRACE_SECONDS=600, COMPRESSION="deflate") as session:
        yield session.until_ready()


NOT_JSON, TOO_LARGE = 1007, 1009
BOMBS = {
    "zeros": "0" * 64 * 1024 * 1024,
    "fragments": ["0" * 32 * 1024] * 2_000,
}


def peak_mib(session):
    """The most memory that the process ever had."""
    for line in Path(f"/proc/{session.process.pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM: the process is gone")


@pytest.mark.parametrize("name", BOMBS)
def test_the_container_closes_and_stays_small(session, name):
    deflate = [ClientPerMessageDeflateFactory(compress_settings={"level": 9})]
    with connect(session.url, extensions=deflate, compression=None) as client:
        assert json.loads(client.recv(10))["type"] == "hello"
        before = peak_mib(session)
        with pytest.raises(ConnectionClosed) as closed:
            send_and_receive(client, BOMBS[name])
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == TOO_LARGE
        assert peak_mib(session) - before < MOST_MIB


def send_and_receive(client, bomb):
    client.send(bomb)
    while True:
        client.recv(20)


def test_deep_json_closes_its_session_and_nothing_else(session):
    with connect(session.url) as client:
        assert json.loads(client.recv(10))["type"] == "hello"
        with pytest.raises(ConnectionClosed) as closed:
            send_and_receive(client, '{"type":"app","x":' + "[" * 60_000)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == NOT_JSON
    assert "Traceback" not in session.log
