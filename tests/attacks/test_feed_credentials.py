"""A session's container, taken over, uses the feed's credential in its environment.

Goal: forge, delete or read records of other sessions; take over the server. Reach: the fan-out
server over TCP, with FEED_URL of the container's environment.
"""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from chalicelib.contract.fanout import SESSION_USER, FanoutUrl, keys_of, session_rules
from tests.integration.conftest import start_cloud  # noqa: F401 - a fixture
from tests.integration.sessions import dispatch
from tests.integration.test_session_redis import connected
from tests.needs import needs_redis
from tests.redis_feed import Connection, FeedWriter, RedisProcess


def environment_of(cloud):
    """Returns the environment of the only container as RunTask requested it."""
    ecs = cloud.client("ecs")
    arns = ecs.list_tasks(cluster="usher-local")["taskArns"]
    (task, *_) = ecs.describe_tasks(cluster="usher-local", tasks=arns)["tasks"]
    (overrides,) = task["overrides"]["containerOverrides"]
    return {entry["name"]: entry["value"] for entry in overrides["environment"]}


def refusal(connection, *words):
    """Returns the server's error for a command; None when the server carried it out."""
    try:
        connection.call(*words)
    except OSError as error:
        return str(error)
    return None


def attacks(stream):
    records, last, origin, relay = keys_of(stream)
    other = keys_of("another").records
    return [
        ("XADD", records, "*", "h", "forged"),
        ("XTRIM", records, "MAXLEN", "0"),
        ("XDEL", records, "0-1"),
        ("XGROUP", "CREATE", records, "g", "$"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", records, ">"),
        ("SET", origin, "forged"),
        ("GETSET", origin, "forged"),
        ("GETDEL", origin),
        ("HSET", last, "shardId-000000000000", "9-0"),
        ("DEL", records),
        ("UNLINK", records),
        ("EXPIRE", records, "1"),
        ("RENAME", records, "x"),
        ("FLUSHALL",),
        ("FLUSHDB", "ASYNC"),
        ("SWAPDB", "0", "1"),
        ("SELECT", "1"),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "requirepass", "mine"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("DBSIZE",),
        ("HGETALL", relay),
        ("GET", "anything"),
        ("XRANGE", other, "-", "+"),
        ("XREAD", "STREAMS", other, "0"),
        ("XREAD", "STREAMS", records, other, "0", "0"),
        ("SUBSCRIBE", "channel"),
        ("PSUBSCRIBE", "*"),
        ("PUBLISH", "channel", "x"),
        ("EVAL", "return 1", "0"),
        ("EVALSHA", "0" * 40, "0"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "LIST"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", SESSION_USER, "+@all"),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("MONITOR",),
        ("INFO",),
        ("WAIT", "1", "0"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "192.0.2.1", "6379"),
        ("SYNC",),
        ("SAVE",),
        ("MIGRATE", "192.0.2.1", "6379", records, "0", "1"),
        ("MODULE", "LIST"),
        ("SORT", records),
    ]


@needs_redis
def test_the_credential_of_a_session_reads_its_stream_and_nothing_else(start_cloud):  # noqa: F811
    cloud = start_cloud(feed_engine="redis")
    session = dispatch(cloud)
    url = FanoutUrl.parse(environment_of(cloud)["FEED_URL"])
    tried = attacks(url.stream)
    for words in tried:
        with contextlib.closing(Connection(url.port)) as connection:
            connection.call(*filter(None, ("AUTH", url.username, url.password)))
            found = refusal(connection, *words)
        assert found is not None, words
        assert found.startswith("NOPERM"), (words, found)
    with contextlib.closing(Connection(url.port)) as connection:  # and without any credential
        assert refusal(connection, "GET", keys_of(url.stream).origin).startswith("NOAUTH")
    with connect(session["url"]) as websocket:  # the session itself works
        assert json.loads(websocket.recv(20))["type"] == "hello"
        put = {"StreamName": cloud.stream, "Data": b'{"n": 1}', "PartitionKey": "a"}
        cloud.client("kinesis").put_record(**put)
        message = json.loads(websocket.recv(20))
        assert message["type"] == "records", message


@pytest.fixture(scope="module")
def server():
    rules = session_rules("updates")
    with RedisProcess(f"user {SESSION_USER} >reader {rules}") as server:
        FeedWriter(server, "updates")
        yield server


WRITES = ("XADD", "SET", "DEL", "HSET", "EVAL", "FLUSHALL", "CONFIG", "ACL", "KEYS", "SUBSCRIBE")


@needs_redis
@given(st.lists(st.sampled_from(WRITES), min_size=1, max_size=4), st.booleans())
def test_a_transaction_does_not_carry_what_is_refused(server, names, is_lower):
    with contextlib.closing(Connection(server.port)) as connection:
        connection.call("AUTH", SESSION_USER, "reader")
        connection.call("MULTI")
        for name in names:
            words = (name.lower() if is_lower else name, keys_of("updates").origin, "x", "y")
            assert refusal(connection, *words) is not None
        assert refusal(connection, "EXEC").startswith("EXECABORT")


@needs_redis
def test_a_session_works_with_the_readers_password_apart_from_its_url(server):
    url = f"redis://{SESSION_USER}@127.0.0.1:{server.port}/updates"
    with connected(url, FEED_PASSWORD="reader") as (_, websocket):
        FeedWriter(server, "updates").put({"n": 1}, "a")
        assert json.loads(websocket.recv(20))["type"] in {"records", "gap"}
