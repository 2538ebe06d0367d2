"""The session container as a real process: a fake Kinesis behind it, a dispatcher to call back."""

import json
import random
import signal
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.kinesis_server import FakeKinesis
from tests.session_client import hello_of, reconnect, take, take_bye
from tests.session_process import CallbackServer, SessionProcess, until

# A session's life


def test_a_session_streams_what_is_put_and_exits_when_its_client_goes(kinesis, callbacks, session):
    kinesis.put({"too": "early"})
    with connect(session.url) as websocket:
        hello = hello_of(websocket)
        assert hello.pop("cursor").startswith("1~t")
        assert hello == {
            "type": "hello",
            "session": "the-id",
            "app": "listings",
            "revision": "listings:7",
            "feed": "kinesis",
            "graceSeconds": 0.0,
        }
        number = kinesis.put({"price": 1}, "a")
        kinesis.put(b"\xff", "ü")
        records, _ = take(websocket, 2)
    assert records[0].pop("arrivedAt") > 1_600_000_000_000
    assert records[0] == {"data": {"price": 1}, "partitionKey": "a", "sequenceNumber": number}
    assert records[1]["data"] == {"base64": "/w=="}
    assert records[1]["partitionKey"] == "ü"
    assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "disconnected"}
    assert {post[2] for post in callbacks.posts} == {"Bearer the-key"}


def test_a_waiting_session_reads_nothing(kinesis, session):
    assert session.health() == (
        200,
        {
            "status": "waiting",
            "ready": True,
            "connected": False,
            "feed": {"kind": "kinesis", "shards": 1, "lagSeconds": 0.0, "errors": []},
        },
    )
    assert set(kinesis.calls) == {"ListShards"}


def test_health_tells_that_the_client_is_there_and_nothing_secret(session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        status, health = session.health()
        assert (status, health["connected"]) == (200, True)
        assert session.uuid not in json.dumps(health)
        assert "the-key" not in json.dumps(health)


def test_a_client_that_never_comes_ends_the_session(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, CONNECT_DEADLINE_SECONDS="0.3") as session:
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "stopping"]
    assert callbacks.accepted[-1]["reason"] == "never_connected"


def test_a_session_ends_at_its_maximum_age(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, MAX_SESSION_SECONDS="2") as session:
        with connect(session.until_ready().url) as websocket:
            bye, code = take_bye(websocket)
        assert session.exit_code() == 0
    assert (bye["reason"], code) == ("expired", 1001)
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "expired"}


def test_sigterm_says_bye_closes_with_1001_and_exits_0(kinesis, callbacks, session):
    with connect(session.url) as websocket:
        cursor = hello_of(websocket)["cursor"]
        session.terminate()
        bye, code = take_bye(websocket)
    assert bye == {"type": "bye", "reason": "stopped", "cursor": cursor}
    assert code == 1001
    assert session.exit_code() == 0
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "stopped"}


def test_sigterm_at_any_moment_of_the_start_exits_0():
    for _ in range(5):
        with SessionProcess() as session:
            session.terminate() if random.random() < 0.5 else session.port and session.terminate()
            assert session.exit_code() in {0, -signal.SIGTERM}


def test_sigkill_is_an_abnormal_close_for_the_client(session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        session.process.kill()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
    assert closed.value.rcvd is None


def test_a_missing_stream_fails_the_start(kinesis, callbacks):
    kinesis.stream, there = "other", kinesis.stream
    with SessionProcess(kinesis, callbacks, FEED_URL=f"kinesis://{there}") as session:
        assert session.exit_code() == 1
        assert "ResourceNotFoundException" in session.log
    assert callbacks.types == ["failed"]
    assert there in callbacks.accepted[0]["detail"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"FEED_URL": "redis://host:6379"}, "must be redis://HOST:PORT/STREAM"),
        ({"FEED_URL": "amqp://host"}, "FEED_URL must be"),
        ({"SESSION_APP": "no_such_module:App"}, "no_such_module"),
        ({"SESSION_APP": "json:JSONDecoder"}, "not a subclass"),
        ({"TLS_CERT_FILE": "/nowhere.pem", "TLS_KEY_FILE": "/nowhere.pem"}, "cannot listen"),
    ],
)
def test_a_wrong_configuration_fails_the_start_and_says_why(callbacks, variables, words):
    with SessionProcess(callbacks=callbacks, **variables) as session:
        assert session.exit_code() == 1
    assert callbacks.types == ["failed"]
    assert words in callbacks.accepted[0]["detail"]


def test_a_wrong_environment_lists_every_problem_and_exits_2():
    with SessionProcess(SESSION_UUID="x", SESSION_PORT="y", CALLBACK_URL="z") as session:
        assert session.exit_code() == 2
        for name in ("SESSION_UUID", "SESSION_PORT", "CALLBACK_URL"):
            assert name in session.log


def test_kinesis_may_be_late_at_the_start(kinesis, callbacks):
    kinesis.fail("ListShards", "InternalFailure", times=2, status=500)
    with SessionProcess(kinesis, callbacks) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        assert session.health()[0] == 200


def test_callbacks_are_repeated_in_order_until_acknowledged(kinesis):
    with (
        CallbackServer(statuses=[500, 429, 503]) as callbacks,
        SessionProcess(kinesis, callbacks) as session,
    ):
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
            until(lambda: callbacks.types == ["ready", "connected"], "both callbacks")
        assert session.exit_code() == 0
        assert [post[3]["type"] for post in callbacks.posts[:4]] == ["ready"] * 4


@pytest.mark.parametrize("never", [401, 404, 409])
def test_a_refused_callback_is_not_repeated_and_changes_nothing(kinesis, never):
    with (
        CallbackServer(statuses=[never]) as callbacks,
        SessionProcess(kinesis, callbacks) as session,
    ):
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
        assert session.exit_code() == 0
        assert [post[3]["type"] for post in callbacks.posts].count("ready") == 1
        assert callbacks.types == ["connected", "disconnected", "stopping"]


def test_without_its_dispatcher_the_session_goes_on(kinesis):
    with SessionProcess(
        kinesis, CALLBACK_URL="http://127.0.0.1:1/events", SESSION_KEY="key"
    ) as session:
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
            kinesis.put({"n": 1})
            take(websocket, 1)
        assert session.exit_code() == 0


# Drops and resuming


def test_within_the_grace_the_same_container_goes_on(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, RECONNECT_GRACE_SECONDS=30) as session:
        url = session.until_ready().url
        with connect(url) as websocket:
            hello_of(websocket)
            kinesis.put({"n": 0})
            _, cursor = take(websocket, 1)
        until(lambda: session.health()[1]["status"] == "grace", "the grace")
        kinesis.put({"n": 1})
        with connect(url) as websocket:
            assert hello_of(websocket)["cursor"] == cursor
            kinesis.put({"n": 2})
            records, _ = take(websocket, 2)
            assert [r["data"]["n"] for r in records] == [1, 2]
            session.terminate()
            take_bye(websocket)
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "stopping"]


def test_clients_that_come_and_go_at_once_are_greeted_once_each(kinesis):
    with SessionProcess(kinesis, RECONNECT_GRACE_SECONDS=30) as session:
        session.until_ready()
        for _ in range(30):
            reconnect(session)

        def connected():
            try:
                return connect(session.url)
            except InvalidStatus:
                return None

        with until(connected, "a connection") as websocket:
            hello_of(websocket)
            kinesis.put({"n": 1})
            message = json.loads(websocket.recv(10))
            assert message["type"] == "records"


def test_a_client_that_talks_before_it_is_greeted_and_goes_ends_the_session(kinesis):
    kinesis.fail("GetShardIterator", "InternalFailure", times=100, status=500)
    with SessionProcess(kinesis) as session:
        with connect(session.until_ready().url) as websocket:
            websocket.send('{"type":"app"}')
        assert session.exit_code() == 0


def test_after_the_grace_the_session_is_over(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, RECONNECT_GRACE_SECONDS="0.3") as session:
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


def test_a_cursor_goes_on_in_another_container_without_loss_or_doubling(kinesis):
    kinesis.split("shardId-000000000000")
    seen, cursor = [], None
    dice = random.Random(3)
    total = 0
    for drop in range(12):
        with SessionProcess(kinesis) as session:
            url = session.until_ready().url + (f"?cursor={cursor}" if cursor else "")
            with connect(url) as websocket:
                cursor = hello_of(websocket)["cursor"]
                burst = dice.randrange(0, 40)
                for number in range(total, total + burst):
                    kinesis.put({"n": number}, f"key-{number % 7}")
                total += burst
                # Disconnect in the middle: some records are read, the rest arrives later.
                for _ in range(dice.randrange(0, 3) if drop else 0):
                    if len(seen) >= total:
                        break
                    message = json.loads(websocket.recv(20))
                    seen += message["records"]
                    cursor = message["cursor"]
        if drop in {3, 6, 9}:
            open_shards = [s.shard_id for s in kinesis.shards.values() if not s.is_closed]
            if drop == 6:
                kinesis.merge(*open_shards[:2])
            else:
                kinesis.split(open_shards[0])
    with (
        SessionProcess(kinesis) as session,
        connect(f"{session.until_ready().url}?cursor={cursor}") as websocket,
    ):
        hello_of(websocket)
        if total > len(seen):
            seen += take(websocket, total - len(seen))[0]
    numbers = [record["data"]["n"] for record in seen]
    assert sorted(numbers) == list(range(total))
    for key in range(7):
        of_key = [n for n in numbers if n % 7 == key]
        assert of_key == sorted(of_key)


# Slow clients


@pytest.fixture(scope="module")
def stalled():
    """Sessions whose clients read nothing, all at once: the container detects that in ten
    seconds.
    """
    names = ["to stop", "to read on"]
    with ExitStack() as stack:
        kinesis = stack.enter_context(FakeKinesis())
        for _ in range(1_500):
            kinesis.put({"x": "y" * 50_000})
        found = {}
        for name in names:
            callbacks = stack.enter_context(CallbackServer())
            session = stack.enter_context(SessionProcess(kinesis, callbacks)).until_ready()
            url = f"{session.url}?cursor=1~h.shardId-000000000000"
            websocket = connect(url, max_queue=1, max_size=None, close_timeout=1)
            stack.enter_context(websocket)
            hello_of(websocket)
            found[name] = kinesis, callbacks, session, websocket
        yield found


def test_a_slow_goodbye_does_not_delay_a_stop(stalled):
    _, _, session, _ = stalled["to stop"]
    until(lambda: "too slow" in session.log, "the client is found too slow", 60)
    session.terminate()
    assert session.exit_code(8) == 0


def test_a_slow_client_is_sent_away_with_its_cursor_at_bounded_memory(stalled):
    kinesis, callbacks, session, websocket = stalled["to read on"]
    until(lambda: "too slow" in session.log, "the client is found too slow", 60)
    assert session.resident_mib() < 120
    received, last = 0, None
    bye = None
    try:
        while True:
            message = json.loads(websocket.recv(40))
            if message["type"] == "bye":
                bye = message
            else:
                received += len(message["records"])
                last = message["cursor"]
    except ConnectionClosed as closed:
        code = closed.rcvd.code
    assert code == 1013
    assert (bye["reason"], bye["cursor"]) == ("slow_client", last)
    assert received < 1_500
    assert session.exit_code(60) == 0
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "slow_client"}
    with (
        SessionProcess(kinesis) as again,
        connect(f"{again.until_ready().url}?cursor={last}", max_size=None) as websocket,
    ):
        hello_of(websocket)
        take(websocket, 1_500 - received)
