"""Session apps in their own container: what they may do, and that they harm only their own."""

import json
import textwrap

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.session_process import ROOT, CallbackServer, SessionProcess, until

APPS = '''
import asyncio
import time

from session_handler.app import SessionApp


class Cities(SessionApp):
    """Forwards the records of the city the client asks for, and counts them."""

    def __init__(self):
        self.city = None
        self.count = 0

    async def on_start(self, session):
        self.session = session
        await session.send({"ready": session.session_id})

    async def on_record(self, record):
        if record.data["city"] != self.city:
            return None
        self.count += 1
        return record.with_data({**record.data, "count": self.count})

    async def on_message(self, message):
        self.city = message["city"]
        await self.session.send({"city": self.city})

    async def on_stop(self, reason):
        print(f"stopped: {reason} after {self.count}", flush=True)


class FailsToStart(SessionApp):
    async def on_start(self, session):
        raise RuntimeError("no start")


class FailsOnRecord(SessionApp):
    async def on_record(self, record):
        return record.with_data({1, 2})


class FailsOnMessage(SessionApp):
    async def on_message(self, message):
        return message["missing"]


class NeverReturns(SessionApp):
    async def on_message(self, message):
        await asyncio.Event().wait()


class Ticks(SessionApp):
    async def on_start(self, session):
        self.session = session
        self.count = 0
        session.every(0.05, self.tick)
        session.after(0.01, self.once)

    async def tick(self):
        self.count += 1
        await self.session.send({"tick": self.count})

    async def once(self):
        self.session.log.warning("once")

    async def on_message(self, message):
        if "close" in message:
            self.session.close(message["close"])
        elif "fail" in message:
            self.session.after(0, self.fail)
        elif "block" in message:
            await self.session.run_blocking(time.sleep, 1.8)
            time.sleep(1.8)
        else:
            for _ in range(200):
                self.session.every(60, self.tick)

    async def fail(self):
        raise LookupError("no tick")


class FailsToStop(SessionApp):
    async def on_stop(self, reason):
        raise RuntimeError("no stop")
'''


@pytest.fixture
def start(tmp_path, kinesis):
    (tmp_path / "apps.py").write_text(textwrap.dedent(APPS))

    def start(name, **environment):
        return SessionProcess(
            kinesis, SESSION_APP=f"apps:{name}", PYTHONPATH=f"{ROOT}:{tmp_path}", **environment
        )

    return start


def receive(websocket):
    return json.loads(websocket.recv(20))


def test_an_app_filters_counts_and_answers(kinesis, start):
    with start("Cities") as session:
        with connect(session.until_ready().url) as websocket:
            assert receive(websocket)["type"] == "hello"
            assert receive(websocket) == {"type": "app", "ready": "the-id"}
            websocket.send('{"type":"app","city":"Oslo"}')
            assert receive(websocket) == {"type": "app", "city": "Oslo"}
            for city in ("Oslo", "Bergen", "Bergen", "Oslo"):
                kinesis.put({"city": city})
            records = []
            while len(records) < 2:
                records += receive(websocket)["records"]
        assert [r["data"] for r in records] == [
            {"city": "Oslo", "count": 1},
            {"city": "Oslo", "count": 2},
        ]
        assert session.exit_code() == 0


@pytest.mark.parametrize("name", ["FailsToStart", "FailsOnRecord", "FailsOnMessage"])
def test_a_failing_app_ends_its_own_session_and_says_so(kinesis, start, name):
    with (
        CallbackServer() as callbacks,
        start(name, CALLBACK_URL=callbacks.url, SESSION_KEY="key") as session,
        SessionProcess(kinesis) as other,
        connect(other.until_ready().url) as neighbour,
    ):
        assert receive(neighbour)["type"] == "hello"
        with connect(session.until_ready().url) as websocket:
            assert receive(websocket)["type"] == "hello"
            kinesis.put({"n": 1})
            messages = []
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - received until then
                if name == "FailsOnMessage":
                    websocket.send('{"type":"app"}')
                while True:
                    messages.append(receive(websocket))
        assert messages[-1]["type"] == "bye"
        assert messages[-1]["reason"] == "app_failed"
        assert closed.value.rcvd.code == 1011
        assert session.exit_code() == 1
        assert callbacks.accepted[-1]["reason"] == "app_failed"
        assert "Traceback" in session.log
        assert receive(neighbour)["records"][0]["data"] == {"n": 1}


def test_an_app_that_never_returns_does_not_keep_the_session(start):
    with start("NeverReturns") as session:
        with connect(session.until_ready().url) as websocket:
            receive(websocket)
            websocket.send('{"type":"app"}')
        assert session.exit_code() == 0


def test_an_app_that_fails_to_stop_does_not_keep_the_session(start):
    with start("FailsToStop") as session:
        with connect(session.until_ready().url) as websocket:
            receive(websocket)
        assert session.exit_code() == 0
        assert "no stop" in session.log


def until_bye(websocket):
    while (message := receive(websocket))["type"] != "bye":
        pass
    return message


def test_an_app_has_timers_until_it_closes_its_session(start):
    with start("Ticks") as session:
        with connect(session.until_ready().url) as websocket:
            assert receive(websocket)["type"] == "hello"
            ticks = [receive(websocket)["tick"] for _ in range(3)]
            assert ticks == [1, 2, 3]
            websocket.send('{"type":"app","close":"enough"}')
            bye = until_bye(websocket)
            assert (bye["reason"], bye["detail"]) == ("disconnected", "enough")
            with pytest.raises(ConnectionClosed) as closed:
                receive(websocket)
            assert closed.value.rcvd.code == 1000
        assert session.exit_code() == 0
        assert "WARNING session=the-id once" in session.log


@pytest.mark.parametrize(("message", "says"), [("fail", "no tick"), ("many", "at most 100 timers")])
def test_what_a_timer_raises_ends_its_session(start, message, says):
    with start("Ticks") as session:
        with connect(session.until_ready().url) as websocket:
            websocket.send(json.dumps({"type": "app", message: 1}))
            bye = until_bye(websocket)
        assert bye["reason"] == "app_failed"
        assert session.exit_code() == 1
        assert says in session.log
        assert says not in bye["detail"]  # only the author may read the exception's text


def test_an_app_that_blocks_is_named_in_the_log(start):
    with start("Ticks") as session:
        with connect(session.until_ready().url, max_queue=None) as websocket:
            websocket.send('{"type":"app","block":1}')
            until(lambda: "blocked the event loop" in session.log, "the warning")
        assert session.log.count("blocked the event loop") == 1  # not for what ran in a thread
        assert session.exit_code() == 0


def test_without_an_app_the_client_may_filter(kinesis):
    with SessionProcess(kinesis) as session, connect(session.until_ready().url) as websocket:
        assert receive(websocket)["type"] == "hello"
        kinesis.put({"n": 0})
        assert receive(websocket)["records"][0]["data"] == {"n": 0}
        wish = {"city": {"in": ["Oslo", "Rome"]}, "price": {"min": 2}}
        websocket.send(json.dumps({"type": "app", "filter": wish}))
        assert receive(websocket) == {"type": "app", "filter": wish}
        for number, city in enumerate(["Oslo", "Bonn", "Rome", "Bonn", "Oslo"]):
            kinesis.put({"city": city, "price": number})
        kinesis.put(b"no json")
        records = []
        while len(records) < 2:
            records += receive(websocket)["records"]
        assert [(r["data"]["city"], r["data"]["price"]) for r in records] == [
            ("Rome", 2),
            ("Oslo", 4),
        ]
        websocket.send('{"type":"app","filter":{"price":{"least":1}}}')
        error = receive(websocket)["error"]
        assert (error["code"], "price" in error["message"]) == ("bad_filter", True)
        websocket.send('{"type":"app","nothing":"of interest"}')
        websocket.send(iter(['{"type":"app",', '"filter"', ":null}"]))  # in three fragments
        assert receive(websocket) == {"type": "app", "filter": None}
        kinesis.put({"n": 1})
        assert receive(websocket)["records"][0]["data"] == {"n": 1}
