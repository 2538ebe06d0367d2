"""Session apps in their own container: what they may do, and that they harm only their own."""

import json
import textwrap

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.integration.sessions import client_of, dispatch
from tests.kinesis_server import FakeKinesis
from tests.session_process import ROOT, CallbackServer, SessionProcess

APPS = '''
import asyncio

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


class FailsToStop(SessionApp):
    async def on_stop(self, reason):
        raise RuntimeError("no stop")
'''


@pytest.fixture
def kinesis():
    with FakeKinesis() as kinesis:
        yield kinesis


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


APPS_WITH_EXAMPLE = """
default = "suburbs"

[apps.suburbs]
image = "usher-session"
session_app = "session_handler.examples.suburbs:Suburbs"
"""


def test_the_example_counts_in_a_container_of_its_own(start_cloud, tmp_path):
    apps = tmp_path / "apps.toml"
    apps.write_text(APPS_WITH_EXAMPLE)
    cloud = start_cloud(apps=apps)
    with client_of(dispatch(cloud)) as (websocket, hello):
        assert hello["app"] == "suburbs"
        listings = [
            {"suburb": "Fernbank", "status": "for sale", "price": 400_000},
            {"suburb": "Fernbank", "status": "sold", "price": 500_000},
            {"suburb": "Tui Rise", "status": "sold prior"},
            {"suburb": ["no", "name"]},
        ]
        for listing in listings:
            cloud.client("kinesis").put_record(
                StreamName=cloud.stream, PartitionKey="key", Data=json.dumps(listing).encode()
            )
        forwarded, suburbs = [], {}
        while len(forwarded) < 4 or len(suburbs) < 2 or suburbs["Fernbank"]["updates"] < 2:
            message = receive(websocket)
            forwarded += [record["data"] for record in message.get("records", ())]
            suburbs |= message.get("suburbs", {})
        assert forwarded == listings
        assert suburbs == {
            "Fernbank": {"updates": 2, "sold": 1, "meanPrice": 450_000},
            "Tui Rise": {"updates": 1, "sold": 1, "meanPrice": None},
        }
        websocket.send('{"type":"app","report":true}')
        assert receive(websocket) == {"type": "app", "suburbs": suburbs}
