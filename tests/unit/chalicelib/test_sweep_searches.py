"""The sweep's calls of ECS before it acts on records without a task: few calls for many records."""

import pytest

from chalicelib.ecs.task_changes import TaskChange
from chalicelib.tasks import pages
from chalicelib.tasks.kinds import Kind, Page
from chalicelib.tasks.pages import FEW_SEARCHES, LISTING_SECONDS, MOST_SEARCHES, Pages
from chalicelib.tasks.sweep_state import Tally

RECORDS = 1_000
TASKS_A_PAGE = 100


class Ecs:
    """A cluster with tasks of every tenth record, and others."""

    def __init__(self, others=0):
        marks = [str(number) for number in range(0, RECORDS, 10)]
        marks += [f"other {number}" for number in range(others)]
        self.tasks = [TaskChange(f"arn:{m}", 1, "RUNNING", "RUNNING", started_by=m) for m in marks]
        self.searches = self.listings = 0

    def describe(self, arns):
        assert not arns
        return {}

    def started_by(self, mark):
        self.searches += 1
        return [task for task in self.tasks if task.started_by == mark]

    def page(self, token):
        self.listings += 1
        start = int(token or 0)
        end = start + TASKS_A_PAGE
        return self.tasks[start:end], str(end) if end < len(self.tasks) else None


class Overdue(Kind[int]):
    """Records, all of which are to be ended unless they have a task."""

    name, page_size = "thing", 100

    def __init__(self):
        self.ended, self.observed = [], []

    def page(self, partition, after):
        start = int(after or 0)
        end = start + self.page_size
        return Page(range(start, end), str(end) if end < RECORDS else None)

    def plan(self, record, tasks):
        yield (self.observed if tasks else self.ended, record)

    def searched_by(self, record, actions):
        return str(record)

    def steps(self, actions):
        for where, record in actions:
            yield "act", lambda where=where, record=record: where.append(record)

    def log_fields(self, record):
        return {}


class Run:
    """One pass over all pages."""

    def __init__(self, ecs, seconds_a_page=0.0):
        self.kind, now = Overdue(), 1_000.0
        looked = Pages(ecs, {"thing": self.kind}, self._take, pytest.fail, lambda: now)
        after, more = None, True
        while more:
            after = looked.process("records/thing/0", after, Tally(), acts=True)
            more = after is not None
            now += seconds_a_page

    def _take(self, steps):
        for _, step in steps:
            step()


def test_a_thousand_overdue_records_cost_a_few_listings():
    ecs = Ecs()
    run = Run(ecs)
    assert (ecs.searches, ecs.listings) == (FEW_SEARCHES, 1)
    assert run.kind.observed == list(range(0, RECORDS, 10))
    assert len(run.kind.ended) == RECORDS * 9 // 10


def test_a_listing_is_not_used_for_long():
    ecs = Ecs()
    Run(ecs, seconds_a_page=LISTING_SECONDS / 2)
    assert ecs.listings == RECORDS // Overdue.page_size // 2


def test_of_more_tasks_than_are_listed_some_are_looked_for_and_the_rest_is_left(monkeypatch):
    monkeypatch.setattr(pages, "LISTING_PAGES", 2)
    ecs = Ecs(others=1_000)
    run = Run(ecs)
    assert ecs.listings == 2
    assert run.kind.observed == list(range(0, RECORDS, 10))
    assert len(run.kind.ended) == ecs.searches - 1 == FEW_SEARCHES - 1 + MOST_SEARCHES * 10
