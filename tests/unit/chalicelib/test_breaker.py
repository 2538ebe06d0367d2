"""The breaker folds starts into what is remembered of an app's revisions."""

import pytest

from chalicelib.dynamodb.table import Table
from chalicelib.errors import StartFailedError, UnavailableError
from chalicelib.sessions.items import APP_STATES
from chalicelib.tasks.breaker import SUCCESS_SECONDS, UNREADABLE, Breaker, RevisionStates
from chalicelib.tasks.revisions import FAILURES_TO_OPEN, is_open
from tests.unit.chalicelib.test_table import table  # noqa: F401 - a fixture

OLD, NEW = "arn:task-definition/chat:7", "arn:task-definition/chat:8"


class Newest:
    """ECS's word for the newest revision, or none."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def newest(self, family):
        assert family == "chat"
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def items(table) -> Table:  # noqa: F811
    return table.items


def test_failures_in_a_row_open_it_and_a_start_closes_it(items):
    states = RevisionStates(items, APP_STATES)
    breaker = Breaker(states, Newest(NEW), lambda: 1_000.0)
    counts = [breaker.failed("chat", NEW, "no such image", {}) for _ in range(FAILURES_TO_OPEN)]
    assert counts == [1, 2, 3, 4, 5]
    assert is_open(states.get("chat"), NEW, 1_000.0)
    assert breaker.succeeded("chat", "chat", NEW, {}) == 0
    assert not is_open(states.get("chat"), NEW, 1_000.0)
    assert states.get("chat").proven == NEW


@pytest.mark.parametrize("error", [UnavailableError("throttled"), StartFailedError("none")])
def test_nothing_is_learnt_and_nothing_fails_where_ecs_does_not_say_what_is_newest(items, error):
    states = RevisionStates(items, APP_STATES)
    breaker = Breaker(states, Newest(OLD, error), lambda: 1_000.0)
    breaker.succeeded("chat", "chat", OLD, {})
    assert breaker.succeeded("chat", "chat", NEW, {}) is None
    assert states.get("chat").proven == OLD


def test_a_state_that_cannot_be_read_is_made_anew(items):
    states = RevisionStates(items, APP_STATES)
    items.overwrite(APP_STATES.to_item(states.get("chat")) | {"failing": {"S": "x"}})
    assert states.get("chat").version == UNREADABLE
    Breaker(states, Newest(NEW), lambda: 1_000.0).succeeded("chat", "chat", NEW, {})
    assert (states.get("chat").version, states.get("chat").proven) == (1, NEW)


def test_one_success_in_a_second_says_it_for_all_until_a_start_fails(items):
    states, now = RevisionStates(items, APP_STATES), [1_000.0]
    breaker = Breaker(states, Newest(NEW, NEW, NEW), lambda: now[0])
    elsewhere = Breaker(states, Newest(), lambda: now[0])
    breaker.succeeded("chat", "chat", NEW, {})
    elsewhere.failed("chat", NEW, "no such image", {})
    assert breaker.succeeded("chat", "chat", NEW, {}) == 0
    assert states.get("chat").failing[NEW].count == 1
    now[0] += SUCCESS_SECONDS
    breaker.succeeded("chat", "chat", NEW, {})
    assert NEW not in states.get("chat").failing
    breaker.failed("chat", NEW, "no such image", {})
    breaker.succeeded("chat", "chat", NEW, {})
    assert NEW not in states.get("chat").failing
