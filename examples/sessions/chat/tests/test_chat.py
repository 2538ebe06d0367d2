"""What is said in a room comes to those in the room."""

import pytest
from chat import BURST, MAX_CHARACTERS, Chat

from session_handler.user import User
from usher.testing import open_session

ANN = User("jwt:1", query={"room": "blue", "name": "  Ann  B "})


def test_one_joins_speaks_and_leaves_through_the_stream():
    with open_session(Chat(), user=ANN) as session:
        assert session.messages() == [{"room": "blue", "name": "Ann B"}]
        session.send({"say": " hello "})
        told = [{"joined": True}, {"said": "hello"}]
        assert session.published() == [{"room": "blue", "from": "Ann B"} | one for one in told]
    assert session.published() == [{"room": "blue", "from": "Ann B", "left": True}]


def test_only_records_of_the_room_are_shown():
    with open_session(Chat(), user=ANN) as session:
        said = {"room": "blue", "from": "Bob", "said": "hi"}
        session.put({**said, "room": "red"}, {"room": "blue", "price": 1}, "text", said)
        assert session.records() == [said]


@pytest.mark.parametrize("query", [{}, {"room": "Blue!"}, {"room": "../x", "name": " "}])
def test_without_a_room_and_a_name_one_is_a_guest_in_the_lobby(query):
    with open_session(Chat(), user=User("jwt:1", query=query)) as session:
        (told,) = session.messages()
        assert told == {"room": "lobby", "name": f"guest-{session.session_id[:4]}"}


@pytest.mark.parametrize("say", [None, 1, "", "   ", "x" * (MAX_CHARACTERS + 1)])
def test_what_cannot_be_said_is_refused(say):
    with open_session(Chat(), user=ANN) as session:
        session.messages()
        session.published()
        session.send({"say": say})
        assert "error" in session.messages()[0]
        assert session.published() == []


def test_nobody_floods_a_room():
    with open_session(Chat(), user=ANN) as session:
        session.messages()
        session.published()
        for number in range(BURST + 3):
            session.send({"say": f"{number}"})
        assert len(session.published()) == BURST
        assert session.messages() == [{"error": "not so fast"}] * 3
