"""Records of up to 10 MiB, which Kinesis accepts where the stream allows it: none delays others."""

import base64
import json
import random
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from session_handler.feeds.records import MAX_RECORD_BYTES
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_redis
from tests.redis_feed import FeedWriter, RedisProcess
from tests.session_process import SessionProcess

MIB = 1 << 20
MOST = 10 * MIB
"""https://docs.aws.amazon.com/streams/latest/dev/large-records.html"""
PATIENCE_SECONDS = 60
DEFAULT_APP_MIB = 128
"""The memory of the shipped app, in MiB: a session that uses more is killed."""


@contextmanager
def fanout():
    with RedisProcess() as server:
        name = f"updates-{random.randrange(10**9)}"
        writer = FeedWriter(server, name)
        yield writer, SessionProcess(FEED_URL=server.url(name))


@contextmanager
def direct():
    with FakeKinesis() as kinesis:
        yield kinesis, SessionProcess(kinesis)


FEEDS = {"fanout": fanout, "direct": direct}


def of_size(size: int, number: int) -> bytes:
    """Bytes that are no JSON, and different for each record."""
    return (b"\xff%d " % number + b"\xfe" * size)[:size]


def shown(data: bytes) -> dict[str, object]:
    """Returns the form in which a client receives a record."""
    if len(data) > MAX_RECORD_BYTES:
        return {"tooLarge": len(data)}
    return {"base64": base64.b64encode(data).decode()}


def received(websocket, count: int) -> list[dict[str, object]]:
    data: list[dict[str, object]] = []
    while len(data) < count:
        message = json.loads(websocket.recv(PATIENCE_SECONDS))
        assert message["type"] == "records", message
        data += [record["data"] for record in message["records"]]
    return data


def peak_mib(session: SessionProcess) -> float:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{session.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


@pytest.mark.parametrize(
    "feed", [needs_redis.parameter("fanout", id="fanout"), pytest.param("direct", id="direct")]
)
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(sizes=st.lists(st.integers(0, MOST), min_size=1, max_size=4))
@example([MOST])
@example([MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1, 1])
@example([MOST, 0, MOST, 1, MOST])
def test_a_record_of_any_size_neither_stops_nor_reorders_those_after_it(feed, sizes):
    with FEEDS[feed]() as (writer, session), session:
        url = session.until_ready().url
        with connect(url, max_size=None) as websocket:
            assert json.loads(websocket.recv(PATIENCE_SECONDS))["type"] == "hello"
            sent = [of_size(size, number) for number, size in enumerate([*sizes, 3])]
            for data in sent:
                writer.put(data)
            assert received(websocket, len(sent)) == [shown(data) for data in sent]
            assert peak_mib(session) < DEFAULT_APP_MIB
