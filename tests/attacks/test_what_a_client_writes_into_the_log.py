"""A session's client writes lines into the log of its session that look like the container's.

Attacker: a client with the path of a session. Goal: forge a line of the log, or send control
sequences to the terminal that shows it (`usher dev`, `tail`). Reach: query, close reasons,
messages, and exceptions and log calls of the app about them.
"""

import json
import re

import pytest
from websockets.sync.client import connect

from tests.session_process import ROOT, SessionProcess

FORGED = "\r\n2026-01-01 00:00:00,000 ERROR session=the-id paid\x1b[2J\x85\u2028x"
LINE = re.compile(r"\d{4}-\d\d-\d\d \S+ [A-Z]+ session=the-id .+|    .*")
APP = """
from session_handler.app import SessionApp

class Teller(SessionApp):
    async def on_start(self, session):
        self.session = session

    async def on_message(self, message):
        self.session.log.info("told: %s", message["text"])
        raise ValueError(message["text"])
"""


@pytest.fixture
def session(tmp_path):
    (tmp_path / "teller.py").write_text(APP, "utf-8")
    path = f"{ROOT}:{tmp_path}"
    with SessionProcess(SESSION_APP="teller:Teller", PYTHONPATH=path) as session:
        yield session.until_ready()


def hello(client):
    assert json.loads(client.recv(10))["type"] == "hello"


def assert_only_lines_of_its_own(session):
    session.exit_code()
    lines = session.log.splitlines()  # as str does it: at each character that may end a line
    assert lines
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert [line for line in lines if re.match(r"2026-01-01 .* paid", line)] == []
    assert "\x1b" not in session.log


def test_the_reason_of_a_close_begins_no_line(session):
    with connect(session.url) as client:
        hello(client)
        client.close(4000, FORGED)
    assert_only_lines_of_its_own(session)
    assert "paid" in session.log


def test_what_an_app_logs_and_raises_begins_no_line(session):
    with connect(session.url) as client:
        hello(client)
        client.send(json.dumps({"type": "app", "text": FORGED}))
        bye = json.loads(client.recv(20))
        assert (bye["type"], bye["reason"]) == ("bye", "app_failed")
    assert_only_lines_of_its_own(session)
    assert session.log.count("paid") >= 2


def test_a_query_begins_no_line(session):
    with connect(session.url + "?x=%0D%0A2026-01-01%20x%1b") as client:
        hello(client)
    assert_only_lines_of_its_own(session)
