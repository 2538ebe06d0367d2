"""The client library follows a feed over drops, killed containers and a moody dispatcher."""

import pytest

from tests.drops import Dispatcher
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_node
from tests.node_follower import Follower
from tests.session_process import until


@pytest.fixture
def kinesis():
    with FakeKinesis(shards=2) as kinesis:
        yield kinesis


def put(kinesis, numbers):
    for number in numbers:
        kinesis.put({"n": number}, "key")


@needs_node
def test_drops_within_the_grace_keep_the_container_and_lose_nothing(kinesis, tmp_path):
    with (
        Dispatcher(kinesis, RECONNECT_GRACE_SECONDS=30) as dispatcher,
        Follower(tmp_path, dispatcher) as follower,
    ):
        for round_number in range(5):
            follower.until_live(round_number + 1)
            put(kinesis, range(round_number * 40, round_number * 40 + 40))
            until(lambda n=round_number: len(follower.numbers) > n * 40, "the first of them")
            dispatcher.links[0].cut()
        until(lambda: len(follower.numbers) >= 200, "all records")
        follower.send("close")
        assert follower.end() == 0
        assert follower.numbers == list(range(200))
        assert follower.phases[-1] == "ended"
        assert len(dispatcher.sessions) == 1


@needs_node
def test_a_killed_container_is_replaced_and_nothing_is_lost_or_doubled(kinesis, tmp_path):
    with (
        Dispatcher(kinesis) as dispatcher,
        Follower(tmp_path, dispatcher) as follower,
    ):
        for round_number in range(4):
            follower.until_live(round_number + 1)
            put(kinesis, range(round_number * 40, round_number * 40 + 40))
            until(lambda n=round_number: len(follower.numbers) > n * 40, "the first of them")
            dispatcher.sessions[-1].process.kill()
        follower.until_live(5)
        until(lambda: len(follower.numbers) >= 160, "all records")
        assert follower.numbers == list(range(160))
        assert len(set(dispatcher.keys)) == len(dispatcher.keys) == 5


@needs_node
def test_a_busy_dispatcher_is_asked_again_with_the_same_key_when_it_says(kinesis, tmp_path):
    with Dispatcher(kinesis) as dispatcher:
        error = {"error": {"code": "limit_reached", "message": "all taken"}}
        dispatcher.answers = [
            (503, {"Retry-After": "1"}, {"error": {"code": "unavailable", "message": "no table"}}),
            (429, {"Retry-After": "600"}, error),
            (202, {"Retry-After": "1"}, {"id": "the-id", "state": "QUEUED", "retryAfter": 0.01}),
        ]
        with Follower(tmp_path, dispatcher) as follower:
            until(lambda: follower.phases.count("waiting") == 2, "both refusals")
            follower.send("retry")
            follower.until_live()
            waits = [said for said in follower.said if said.get("phase") == "waiting"]
            assert [wait["error"]["status"] for wait in waits] == [503, 429]
            assert 1 <= waits[0]["seconds"] < 2
            assert waits[1]["seconds"] == 30
        assert len(set(dispatcher.keys)) == 1


@needs_node
@pytest.mark.parametrize("again", [[], ["stopped"]])
def test_a_stopped_session_is_not_replaced_unless_told(kinesis, tmp_path, again):
    with Dispatcher(kinesis) as dispatcher, Follower(tmp_path, dispatcher, again=again) as follower:
        follower.until_live()
        dispatcher.sessions[0].terminate()
        if again:
            follower.until_live(2)
            return
        assert follower.end() == 0
        assert (follower.phases[-1], follower.said[-1]["reason"]) == ("ended", "stopped")
        assert len(dispatcher.sessions) == 1


@needs_node
def test_a_final_refusal_ends_it_with_the_reason(kinesis, tmp_path):
    with Dispatcher(kinesis) as dispatcher:
        dispatcher.answers = [(400, {}, {"error": {"code": "unknown_app", "message": "no"}})]
        with Follower(tmp_path, dispatcher) as follower:
            assert follower.end() == 0
            last = follower.said[-1]
            assert (last["phase"], last["error"]["code"]) == ("ended", "unknown_app")
