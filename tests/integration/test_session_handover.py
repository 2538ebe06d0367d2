"""A user whose connection was lost reconnects with the path: only then does the new connection
replace the old one.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.paced_client import PacedClient
from tests.session_client import hello_of
from tests.session_process import CallbackServer, SessionProcess, until
from tests.silent_proxy import SilentProxy


@pytest.mark.parametrize("grace", [0, 10])
def test_a_user_whose_line_went_silent_gets_the_place_back(kinesis, grace):
    with (
        CallbackServer() as callbacks,
        SessionProcess(kinesis, callbacks, RECONNECT_GRACE_SECONDS=grace) as session,
        SilentProxy(session.until_ready().port) as proxy,
        ExitStack() as stack,
    ):
        old = stack.enter_context(connect(f"ws://127.0.0.1:{proxy.port}/{session.uuid}"))
        cursor = hello_of(old)["cursor"]
        proxy.go_silent()
        kinesis.put({"n": 1})
        with connect(f"{session.url}?cursor={cursor}", open_timeout=8) as new:
            hello_of(new)
            assert json.loads(new.recv(10))["records"][0]["data"] == {"n": 1}
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


def test_a_train_of_reconnects_each_gets_the_place_in_turn(kinesis):
    with SessionProcess(kinesis, RECONNECT_GRACE_SECONDS=10) as session, ExitStack() as stack:
        session.until_ready()
        proxy = stack.enter_context(SilentProxy(session.port))
        url = f"ws://127.0.0.1:{proxy.port}/{session.uuid}"
        for _ in range(5):
            client = connect(url, open_timeout=8, close_timeout=0.1)
            hello_of(stack.enter_context(client))
            proxy.go_silent()
        with connect(session.url, open_timeout=8) as last:
            hello_of(last)


def test_five_at_once_one_gets_it(kinesis):
    with SessionProcess(kinesis, RECONNECT_GRACE_SECONDS=10) as session, ExitStack() as stack:
        session.until_ready()
        proxy = stack.enter_context(SilentProxy(session.port))
        url = f"ws://127.0.0.1:{proxy.port}/{session.uuid}"
        hello_of(stack.enter_context(connect(url, close_timeout=0.1)))
        proxy.go_silent()

        def attempt(_):
            try:
                return connect(session.url, open_timeout=8)
            except InvalidStatus as refused:
                return refused.response.status_code

        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(attempt, range(5)))
        winners = [answer for answer in answers if answer != 409]
        assert len(winners) == 1
        with winners[0] as winner:
            hello_of(winner)


def test_a_client_that_answers_keeps_its_place(kinesis):
    with SessionProcess(kinesis) as session, connect(session.until_ready().url) as old:
        hello_of(old)
        with pytest.raises(InvalidStatus) as refused:
            connect(session.url, open_timeout=8)
        assert refused.value.response.status_code == 409
        kinesis.put({"n": 1})
        assert json.loads(old.recv(10))["type"] == "records"


def test_a_client_that_reads_slowly_keeps_its_place(kinesis):
    kinesis.put({"x": "y" * 900_000})
    with SessionProcess(kinesis) as session:
        url = f"{session.until_ready().url}?cursor=1~h.shardId-000000000000"
        with PacedClient(url, 32 * 1024) as old, ThreadPoolExecutor(1) as pool:
            old.read_until(lambda c: c.received_bytes > 100_000, 20)
            ends = time.monotonic() + 6
            reading = pool.submit(old.read_until, lambda _: time.monotonic() > ends, 20)
            with pytest.raises(InvalidStatus) as refused:
                connect(session.url, open_timeout=8)
            assert refused.value.response.status_code == 409
            reading.result()
            assert not old.dropped


def test_who_comes_back_without_a_cursor_misses_nothing(kinesis):
    """Records that were sent into a lost connection were not delivered."""
    kinesis.put({"n": 0})
    with SessionProcess(kinesis, RECONNECT_GRACE_SECONDS=20) as session:
        url = f"{session.until_ready().url}?cursor=1~h.shardId-000000000000"
        with PacedClient(url, 16 * 1024) as old:
            old.read_until(lambda c: len(c.records) == 1, 20)
            kinesis.put({"n": 1, "x": "y" * 300_000})
            old.read_until(lambda c: c.received_bytes > 30_000, 20)
        until(lambda: session.health()[1]["status"] == "grace", "the grace")
        with connect(session.url, max_size=None) as new:
            hello_of(new)
            assert json.loads(new.recv(20))["records"][0]["data"]["n"] == 1
