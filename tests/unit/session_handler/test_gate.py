"""Accepted and refused connections; a refusal contains no information."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_handler import gate
from session_handler.cursor import Cursor, Horizon
from session_handler.gate import Admit, Answer, Gate, Health, Request, Script

UUID = "0b4f3d52-3c8e-4e0e-9a2b-1f2e3d4c5b6a"
PAGE = "https://page.example"


def decide(target, origins=(), *, allowed=None, websocket=True, occupied=False, over=False):
    rules = Gate(UUID, None if allowed is None else frozenset(allowed))
    request = Request(target, origins, websocket)
    return rules.decide(request, is_occupied=occupied, is_over=over)


def test_the_secret_path_admits():
    assert decide(f"/{UUID}") == Admit(None)


def test_a_cursor_is_taken_along():
    assert decide(f"/{UUID}?cursor=1~h.shard") == Admit(Cursor({"shard": Horizon()}))
    assert decide(f"/{UUID}?cursor=") == Admit(None)
    assert decide(f"/{UUID}?other=1") == Admit(None)


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=1&cursor=1", "cursor=%ff", "&".join("a=1" * 9)]
)
def test_a_bad_cursor_is_refused_with_its_reason(query):
    answer = decide(f"/{UUID}?{query}")
    assert isinstance(answer, (Answer, Admit))
    if "cursor" in query:
        assert (answer.status, answer.body[:10]) == (400, "Bad cursor")


@given(st.text(st.characters(max_codepoint=127)))
def test_any_other_path_gets_the_same_404(path):
    assert decide("/" + path) is gate.NOT_FOUND or path.partition("?")[0] == "healthz"


@pytest.mark.parametrize(
    "path", [f"/{UUID}/", f"/{UUID.upper()}", f"//{UUID}", f"/{UUID}/client.ts"]
)
def test_near_misses_get_it_too(path):
    assert decide(path) is gate.NOT_FOUND


def test_strangers_learn_nothing_from_the_state():
    assert decide("/x", occupied=True, over=True) is gate.NOT_FOUND


def test_health_and_script():
    assert decide("/healthz") == Health()
    assert isinstance(decide(f"/{UUID}/client.js"), Script)


def test_origins():
    assert decide(f"/{UUID}", [PAGE]) == Admit(None)
    assert decide(f"/{UUID}", [PAGE], allowed=[PAGE]) == Admit(None)
    assert decide(f"/{UUID}", [PAGE.upper()], allowed=[PAGE]) == Admit(None)
    assert decide(f"/{UUID}", [], allowed=[PAGE]) == Admit(None)
    assert decide(f"/{UUID}", ["null"], allowed=[PAGE]) is gate.BAD_ORIGIN
    assert decide(f"/{UUID}", [PAGE + ".evil"], allowed=[PAGE]) is gate.BAD_ORIGIN
    assert decide(f"/{UUID}", [PAGE, PAGE], allowed=[PAGE]) is gate.BAD_ORIGIN


def test_one_client_at_a_time():
    assert decide(f"/{UUID}", occupied=True) is gate.OCCUPIED
    assert decide(f"/{UUID}", over=True) is gate.OVER
    assert decide(f"/{UUID}", websocket=False, occupied=True) == Admit(None)


def test_the_script_is_for_the_allowed_origins():
    assert decide(f"/{UUID}/client.js", [PAGE]).headers["Access-Control-Allow-Origin"] == "*"
    headers = decide(f"/{UUID}/client.js", [PAGE], allowed=[PAGE]).headers
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Vary"] == "Origin"
    headers = decide(f"/{UUID}/client.js", ["https://evil.example"], allowed=[PAGE]).headers
    assert "Access-Control-Allow-Origin" not in headers
