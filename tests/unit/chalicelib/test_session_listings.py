"""The listing of sessions that have not ended, on the table of infra/template.yaml."""

import json
import uuid
from dataclasses import replace

import pytest

from chalicelib.errors import BadRequestError
from chalicelib.sessions.listings import (
    parse_search,
    show_history,
    show_next,
    show_row,
)
from chalicelib.sessions.model import Change, State
from tests.unit.chalicelib.test_lifecycle import queued
from tests.unit.chalicelib.test_table import table  # noqa: F401 - a fixture

BEGIN = 1_800_000_000
HOST = "arn:aws:ecs:us-east-1:123456789012:container-instance/usher-test/0a1b2c"


def session_of(number, **changes):
    """Returns one of many sessions; sixteen share each instant, two of them a bucket."""
    session_id = str(uuid.UUID(int=number << 96 | number))
    created_at = BEGIN + number // 16 + 0.1234567
    return replace(queued(), id=session_id, created_at=created_at, **changes)


@pytest.fixture
def many(table, monkeypatch):  # noqa: F811
    """60 sessions of two apps and three owners; each tenth has ended. Queries are cut short."""
    monkeypatch.setattr("chalicelib.sessions.table.LISTING_ROWS", 3)
    made = []
    for number in range(60):
        session = session_of(
            number,
            app=("chat", "map")[number % 2],
            owner=("api_key:ann", "api_key:bob", None)[number % 3],
            container_instance=HOST if number == 7 else None,
            task_definition=f"arn:task-definition/usher-test-chat:{number % 4 + 1}",
        )
        if number % 10 == 0:
            session = replace(session, state=State.ENDED, ended_at=float(BEGIN))
        table.insert(session)
        made.append(session)
    return table, [session for session in made if session.state is not State.ENDED]


def pages_of(table, **query):  # noqa: F811
    found, sizes = [], []
    while True:
        search = parse_search(query)
        page = table.newest(search)
        sizes.append(len(page.sessions))
        found += page.sessions
        following = show_next(page, search)
        if following is None:
            return found, sizes
        assert len(sizes) < 100, "it leads on for ever"
        query["next"] = following


def newest_first(sessions):
    return sorted(sessions, key=lambda s: (s.created_at, s.id), reverse=True)


@pytest.mark.parametrize("limit", ["3", "11", "100"])
def test_pages_have_each_live_session_once_newest_first(many, limit):
    sessions, live = many
    found, sizes = pages_of(sessions, limit=limit)
    assert [s.id for s in found] == [s.id for s in newest_first(live)]
    assert max(sizes) <= int(limit)


@pytest.mark.parametrize(
    ("query", "wants"),
    [
        ({"app": "map"}, lambda s: s.app == "map"),
        ({"owner": "api_key:bob"}, lambda s: s.owner == "api_key:bob"),
        ({"host": "0a1b2c"}, lambda s: s.container_instance == HOST),
        ({"revision": "3"}, lambda s: s.revision == 3),
        ({"state": "QUEUED", "app": "chat"}, lambda s: s.app == "chat"),
        ({"state": "ACTIVE"}, lambda s: False),
    ],
)
def test_filters_are_applied_to_all_sessions(many, query, wants):
    sessions, live = many
    found, _ = pages_of(sessions, limit="20", **query)
    assert [s.id for s in found] == [s.id for s in newest_first(filter(wants, live))]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "ENDED"},
        {"revision": "0"},
        {"limit": "101"},
        {"next": "x"},
        {"next": "0123456789abcdef_1_"},
        {"app": "a" * 301},
    ],
)
def test_what_is_malformed_is_refused(query):
    with pytest.raises(BadRequestError):
        parse_search(query)


def test_a_cursor_is_good_for_its_filters_alone(many):
    sessions, _ = many
    search = parse_search({"app": "map", "limit": "5"})
    following = show_next(sessions.newest(search), search)
    assert parse_search({"app": "map", "next": following}).after is not None
    with pytest.raises(BadRequestError):
        parse_search({"app": "chat", "next": following})


def test_neither_path_nor_key_is_shown_and_hosts_are_for_those_who_see_all():
    history = (Change(BEGIN, State.QUEUED, "asked for"),)
    session = session_of(
        3, container_instance=HOST, ip="192.0.2.7", port=49153, task_arn="arn:t", history=history
    )
    for shown in (show_row(session, with_host=True), show_history(session, with_host=True)):
        text = json.dumps(shown)
        assert session.uuid not in text
        assert session.key not in text
        assert shown["address"] == "192.0.2.7:49153"
    own = show_history(session, with_host=False)
    assert own["history"][0]["cause"] == "asked for"
    assert not {"host", "address", "taskArn"} & own.keys()


@pytest.mark.parametrize("most", [50, 2])
def test_few_live_sessions_are_counted_and_of_many_no_more_than_the_bound(many, monkeypatch, most):
    table, live = many  # noqa: F811
    monkeypatch.setattr("chalicelib.sessions.table.COUNTED_ROWS", most)
    counted, is_whole = table.count_live()
    assert is_whole == (most == 50)
    assert counted == len(live) if is_whole else counted == most
