"""`usher.testing`: a session app runs without a container as it does in one."""

import asyncio

import pytest

from session_handler.app import SessionApp
from session_handler.apps import Filter
from session_handler.user import User
from usher.testing import open_session


class Slow(SessionApp):
    """Answers later, from a task of its own."""

    async def on_start(self, session):
        self.session = session
        self.stopped_for = None

    async def on_message(self, message):
        self.task = asyncio.get_running_loop().create_task(self.answer(message))

    async def answer(self, message):
        await asyncio.sleep(0.01)
        await self.session.send({"late": message})

    async def on_stop(self, reason):
        self.stopped_for = reason


class Broken(SessionApp):
    async def on_record(self, record):
        return record.with_data({1, 2})


def test_the_filter_app_filters_and_answers():
    with open_session(Filter()) as session:
        session.put({"n": 1}, {"n": 2})
        assert session.records() == [{"n": 1}, {"n": 2}]
        assert session.records() == []
        session.send({"filter": {"n": {"min": 2}}})
        assert session.messages() == [{"filter": {"n": {"min": 2}}}]
        session.put({"n": 1}, {"n": 2})
        assert session.records() == [{"n": 2}]


def test_what_comes_later_is_waited_for():
    app = Slow()
    with open_session(app, stop_reason="expired") as session:
        session.send({"x": 1, "type": "app"})
        assert session.messages() == []
        assert session.wait_for_message() == {"late": {"x": 1}}
        with pytest.raises(TimeoutError):
            session.wait_for_message(0.01)
        session.send({"x": 2})
        session.pass_time(0.05)
        assert session.messages() == [{"late": {"x": 2}}]
    assert app.stopped_for == "expired"


def test_what_the_app_raises_is_raised_and_the_client_gets_only_json():
    with open_session(Broken()) as session, pytest.raises(TypeError):
        session.put({})
    with open_session(Slow()) as session, pytest.raises(ValueError, match="JSON"):
        session.send({"x": float("nan")})


def test_records_of_a_file(tmp_path):
    file = tmp_path / "records.jsonl"
    file.write_text('{"n": 1}\n2\n')
    with open_session(SessionApp()) as session:
        assert session.put_file(file) == 2
        assert session.records() == [{"n": 1}, 2]
        file.write_text('1\n{"n": ')
        with pytest.raises(ValueError, match=r"records\.jsonl:2: "):
            session.put_file(file)


class Greets(SessionApp):
    async def on_start(self, session):
        user = await session.user()
        await session.send({"owner": user.owner, "room": user.query.get("room")})
        assert session.pending == 0


def test_the_user_is_whom_the_test_says():
    with open_session(Greets()) as session:
        assert session.messages() == [{"owner": "test", "room": None}]
    with open_session(Greets(), user=User("jwt:ann", query={"room": "1"})) as session:
        assert session.messages() == [{"owner": "jwt:ann", "room": "1"}]
