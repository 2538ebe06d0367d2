"""`usher.follow` and `usher.dispatch` on real containers, behind drops and a busy dispatcher."""

import asyncio
import threading

import pytest

import usher
from tests.drops import KILLS, Dispatcher, dropping
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_redis
from tests.redis_feed import RedisProcess
from tests.session_process import until
from usher.errors import SessionEndedError

DROPS = 1000


class Eager:
    """Retries without pauses, and counts the calls of its handlers."""

    def __init__(self):
        self.phases, self.following = [], None

    def __call__(self, state):
        self.phases.append(state.phase)
        if state.phase == "waiting":
            self.following.retry()


def followed(world, **options):
    eager, gaps = Eager(), []
    url = world.url.removesuffix("/session?app=listings")
    eager.following = usher.follow(
        app="listings", url=url, on_state=eager, on_gap=gaps.append, rejoin_seconds=0.1, **options
    )
    return eager.following, eager, gaps


def begin_when_live(world, eager):
    """Drops begin with the first connection."""
    until(lambda: "live" in eager.phases, "live")
    world.begin()


@needs_redis
def test_follow_goes_through_a_thousand_drops_and_loses_and_doubles_nothing():
    with RedisProcess() as server, dropping(server, DROPS) as world:
        following, eager, gaps = followed(world.dispatcher)
        thread = threading.Thread(target=begin_when_live, args=(world, eager))
        thread.start()
        numbers = []
        for record in following:
            numbers.append(record.data["n"])
            if len(numbers) >= world.records:
                following.close()
        thread.join()
        assert numbers == list(range(world.records))
        assert not gaps
        assert world.done == DROPS
        assert len(world.dispatcher.sessions) > KILLS


@needs_redis
def test_with_asyncio_it_does_the_same():
    async def consume(world):
        following, eager, gaps = followed(world.dispatcher)
        thread = threading.Thread(target=begin_when_live, args=(world, eager))
        thread.start()
        numbers = []
        async for record in following:
            numbers.append(record.data["n"])
            if len(numbers) >= world.records:
                following.close()
        assert not gaps
        return numbers

    with RedisProcess() as server, dropping(server, DROPS) as world:
        assert asyncio.run(consume(world)) == list(range(world.records))
        assert world.done == DROPS


@needs_redis
def test_a_filter_holds_for_every_record_and_a_cursor_goes_on_behind_it():
    with RedisProcess() as server, dropping(server, 60, each=8) as world:
        wanted = {"odd": 1}
        following, eager, _ = followed(world.dispatcher, filter=wanted)
        thread = threading.Thread(target=begin_when_live, args=(world, eager))
        thread.start()
        seen = []
        for batch in following.batches():
            seen += [record.data["n"] for record in batch.records]
            if len(seen) > 50:
                cursor = batch.cursor
                break
        thread.join()
        following, _, _ = followed(world.dispatcher, filter=wanted, cursor=cursor)
        for record in following:
            seen.append(record.data["n"])
            if len(seen) >= world.records // 2:
                following.close()
        assert seen == list(range(1, world.records, 2))


def test_close_from_another_thread_ends_it_at_once():
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        following, eager, _ = followed(world)
        threading.Thread(
            target=lambda: (until(lambda: "live" in eager.phases, "live"), following.close())
        ).start()
        assert list(following) == []
        until(lambda: world.sessions[0].process.poll() == 0, "the container's end")
        with pytest.raises(RuntimeError, match="once"):
            next(iter(following))


def test_a_final_bye_is_an_error_unless_told_to_go_on():
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        following, eager, _ = followed(world)
        threading.Thread(
            target=lambda: (
                until(lambda: "live" in eager.phases, "live"),
                world.sessions[0].terminate(),
            )
        ).start()
        with pytest.raises(SessionEndedError) as ended:
            list(following)
        assert ended.value.reason == "stopped"


def test_dispatch_repeats_429_and_503_and_follows_202():
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        error = {"error": {"code": "limit_reached", "message": "all taken"}}
        world.answers = [
            (503, {"Retry-After": "1"}, {"error": {"code": "unavailable", "message": "no table"}}),
            (429, {"Retry-After": "1"}, error),
            (202, {"Retry-After": "1"}, {"id": "the-id", "state": "QUEUED", "retryAfter": 0.01}),
        ]
        states = []
        url = world.url.removesuffix("/session?app=listings")
        session = usher.dispatch(app="listings", url=url, on_state=states.append)
        assert session.url.startswith("ws://")
        assert session.url not in repr(session)
        assert [state.phase for state in states] == ["waiting", "waiting", "pending"]
        assert all(1 <= state.seconds < 2 for state in states[:2])
        assert len(world.keys) == 3
        assert len(set(world.keys)) == 1


def test_dispatch_raises_what_repeating_cannot_change():
    with FakeKinesis() as kinesis, Dispatcher(kinesis) as world:
        url = world.url.removesuffix("/session?app=listings")
        world.answers = [(400, {}, {"error": {"code": "unknown_app", "message": "no"}})]
        with pytest.raises(usher.AnswerError) as refused:
            usher.dispatch(app="listings", url=url)
        assert refused.value.code == "unknown_app"
        error = {"error": {"code": "limit_reached", "message": "no"}}
        world.answers = [(429, {"Retry-After": "600"}, error)]
        with pytest.raises(usher.AnswerError, match="no"):
            usher.dispatch(app="listings", url=url, timeout_seconds=20)
        world.answers = [(200, {}, {"id": "x", "state": "ENDED", "reason": "failed_to_start"})]
        with pytest.raises(SessionEndedError, match="failed_to_start"):
            usher.dispatch(app="listings", url=url)
