"""Reuse of containers with a guard for another run or submission, without an engine."""

import pytest

from usher.box import docker_box
from usher.box.docker_box import MOST_IDLE, MOST_RUNS, DockerBoxes
from usher.box.guard import is_alone
from usher.box.model import BoxError, BoxSettings, Folder, InnerBox, Outcome, Task, Usage

SETTINGS = BoxSettings()
TASK = Task(("true",), image="one")
OF_AN_AUTHOR = [
    Task(("true",), image="one", folders=(Folder("/shared"),)),
    Task(("true",), image="one", inner=InnerBox({}, SETTINGS)),
]


class Container:
    """A container that runs nothing."""

    def __init__(self, engine, request, *, is_for_all):
        self.is_for_all, self.is_clean, self.is_closed, self.runs = is_for_all, True, False, 0
        self.has_died = False
        engine.made.append(self)

    def make_box(self, payload):
        self.runs += 1
        if self.has_died:
            raise BoxError("the guard of the box is gone")

    def run(self, task, settings, ends):
        return Outcome(0, None, Usage(0.0, 0, 0), 0.0, b"", b"")

    def close(self):
        self.is_closed = True


class Engine:
    """Knows what was made."""

    def __init__(self):
        self.made: list[Container] = []


@pytest.fixture
def boxes(monkeypatch):
    monkeypatch.setattr(docker_box, "GuardConnection", Container)
    monkeypatch.setattr(docker_box, "start_with_runtime", lambda e, b, v, start: start())
    made = DockerBoxes("base", "/socket")
    made._engine, made._known = Engine(), ("volume", "x86_64", False)
    return made


def in_a_session(boxes, *tasks):
    session = boxes.session()
    for task in tasks:
        session.run(task, SETTINGS)
    session.close()


def test_the_next_submission_gets_the_same_container(boxes):
    in_a_session(boxes, TASK, TASK)
    in_a_session(boxes, TASK)
    (only,) = boxes._engine.made
    assert (only.runs, only.is_closed) == (3, False)
    boxes.close()
    assert only.is_closed


@pytest.mark.parametrize("task", OF_AN_AUTHOR)
def test_the_container_of_an_authors_image_ends_with_its_submission(boxes, task):
    in_a_session(boxes, task, task)
    in_a_session(boxes, task)
    first, second = boxes._engine.made
    assert (first.runs, first.is_closed, second.runs) == (2, True, 1)


def test_two_submissions_at_the_same_time_have_two_containers(boxes):
    in_a_session(boxes, TASK)
    one, two = boxes.session(), boxes.session()
    one.run(TASK, SETTINGS)
    two.run(TASK, SETTINGS)
    assert [each.runs for each in boxes._engine.made] == [2, 1]


def test_a_container_where_something_is_left_serves_no_other_run(boxes):
    in_a_session(boxes, TASK)
    boxes._engine.made[0].is_clean = False
    in_a_session(boxes, TASK, TASK)
    assert [(each.runs, each.is_closed) for each in boxes._engine.made] == [(2, True), (1, False)]


def test_a_container_that_died_while_it_waited_is_replaced(boxes):
    in_a_session(boxes, TASK)
    boxes._engine.made[0].has_died = True
    in_a_session(boxes, TASK)
    assert [(each.runs, each.is_closed) for each in boxes._engine.made] == [(2, True), (1, False)]


def test_a_container_is_replaced_after_so_many_runs(boxes):
    in_a_session(boxes, *[TASK] * (MOST_RUNS + 1))
    assert [each.runs for each in boxes._engine.made] == [MOST_RUNS, 1]


def test_few_containers_wait(boxes):
    tasks = [Task(("true",), image=str(number)) for number in range(MOST_IDLE + 2)]
    for task in tasks:
        in_a_session(boxes, task)
    assert [each.is_closed for each in boxes._engine.made] == [True] * 2 + [False] * MOST_IDLE


def test_a_guard_is_not_alone_beside_other_processes():
    assert not is_alone()
