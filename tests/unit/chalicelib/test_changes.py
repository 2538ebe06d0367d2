"""Conditional answers and long polling, on records and a clock of the test's own."""

from types import SimpleNamespace

import pytest
from chalice.app import Response

from chalicelib.api.changes import unless_known, when_changed
from chalicelib.api.http import answer
from chalicelib.errors import BadRequestError


class Clock:
    """A clock that advances only during waits."""

    def __init__(self):
        self.now, self.waits = 100.0, []

    def wait(self, _, seconds):
        self.waits.append(seconds)
        self.now += seconds


def services_with(clock, *, may_wait=True):
    environment = SimpleNamespace(now=lambda: clock.now, wait=clock.wait)
    asked = []
    sessions = SimpleNamespace(may_wait=lambda owner: asked.append(owner) or may_wait)
    sessions = SimpleNamespace(service=sessions)
    return SimpleNamespace(environment=environment, sessions=sessions, asked=asked)


def request_with(tag="", **query):
    return SimpleNamespace(headers={"if-none-match": tag}, query_params=query)


def render(record):
    return answer({"state": record})


def tag_of(record) -> str:
    return str(unless_known(request_with(), render(record)).headers["ETag"])


def ask(clock, load, *, tag="", may_wait=True, **query) -> tuple[Response, list[str]]:
    services = services_with(clock, may_wait=may_wait)
    found = when_changed(
        request_with(tag, **query), services, owner="ann", load=load, render=render
    )
    return found, services.asked


def test_an_answer_has_a_tag_and_is_not_sent_again_to_who_has_it():
    first, _ = ask(Clock(), lambda: "QUEUED")
    assert (first.status_code, first.body) == (200, {"state": "QUEUED"})
    again, _ = ask(Clock(), lambda: "QUEUED", tag=f'"other", {first.headers["ETag"]}')
    assert (again.status_code, again.body) == (304, "")
    assert again.headers == {"Cache-Control": "no-store", "ETag": first.headers["ETag"]}
    assert tag_of("STARTED") != first.headers["ETag"]


def test_a_status_is_part_of_what_the_tag_is_of():
    coming = unless_known(request_with(), answer({"state": "QUEUED"}, 202))
    assert coming.headers["ETag"] != tag_of("QUEUED")


def test_who_waits_is_answered_at_the_first_poll_after_a_change():
    clock = Clock()
    found, asked = ask(
        clock, lambda: "STARTED" if clock.now >= 105 else "QUEUED", tag=tag_of("QUEUED"), wait="25"
    )
    assert (found.status_code, found.body) == (200, {"state": "STARTED"})
    assert 105 <= clock.now < 105.6
    assert asked == ["ann"]


def test_who_waits_for_nothing_is_answered_304_when_the_time_is_over():
    clock, reads = Clock(), []
    found, _ = ask(clock, lambda: reads.append(1) or "QUEUED", tag=tag_of("QUEUED"), wait="25")
    assert found.status_code == 304
    assert clock.now == pytest.approx(125)
    assert len(reads) < 40


@pytest.mark.parametrize("query", [{}, {"wait": "0"}])
def test_without_a_wait_there_is_none(query):
    clock = Clock()
    found, asked = ask(clock, lambda: "QUEUED", tag=tag_of("QUEUED"), **query)
    assert (found.status_code, clock.waits, asked) == (304, [], [])


def test_a_client_that_has_nothing_or_something_old_does_not_wait():
    clock = Clock()
    for tag in ("", tag_of("ACCEPTED")):
        assert ask(clock, lambda: "QUEUED", tag=tag, wait="25")[0].status_code == 200
    assert clock.waits == []


def test_who_holds_too_many_functions_does_not_wait():
    clock = Clock()
    found, _ = ask(clock, lambda: "QUEUED", tag=tag_of("QUEUED"), wait="25", may_wait=False)
    assert (found.status_code, clock.waits) == (304, [])


@pytest.mark.parametrize("wait", ["-1", "26", "nan", "soon"])
def test_another_wait_is_refused(wait):
    with pytest.raises(BadRequestError, match="wait: "):
        ask(Clock(), lambda: "QUEUED", wait=wait)
