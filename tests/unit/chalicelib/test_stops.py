"""Stopping tasks that a record ends, and tasks that no record has any claim to."""

import logging
from dataclasses import replace

import pytest

from chalicelib.ecs.failures import StopError
from chalicelib.metrics import ProcessMetrics
from chalicelib.tasks.stops import TaskStops
from tests.unit.chalicelib.test_lifecycle import RUNNING


class Ecs:
    """A launcher that records its calls, or refuses them."""

    def __init__(self, refuses=False):
        self.stopped = []
        self._refuses = refuses

    def stop(self, task_arn, reason):
        if self._refuses:
            raise StopError("Rate exceeded")
        self.stopped.append((task_arn, reason))


def stops(ecs):
    return TaskStops(ecs, ProcessMetrics(), lambda: 1_000.0)


def test_a_task_of_a_record_is_stopped_and_a_refusal_is_left_to_the_sweep(caplog, monkeypatch):
    ecs = Ecs()
    stops(ecs).stop("arn:1", "asked", {})
    stops(ecs).stop(None, "asked", {})
    assert ecs.stopped == [("arn:1", "asked")]
    logger = logging.Logger("usher.tasks")  # other tests of this process set the shared one up
    logger.addHandler(caplog.handler)
    monkeypatch.setattr("chalicelib.tasks.stops._log", logger)
    monkeypatch.setattr(logging.root.manager, "disable", 0)
    stops(Ecs(refuses=True)).stop("arn:1", "asked", {"job": "report"})
    assert {(r.job, r.task) for r in caplog.records} == {("report", "arn:1")}


def test_the_event_of_an_orphan_comes_again_where_ecs_does_not_stop_it():
    with pytest.raises(StopError):
        stops(Ecs(refuses=True)).stop_orphan(RUNNING, "without a record", {})


def test_an_orphan_is_stopped_once():
    ecs = Ecs()
    stops(ecs).stop_orphan(RUNNING, "without a record", {})
    for stopping in (
        replace(RUNNING, desired_status="STOPPED"),
        replace(RUNNING, last_status="STOPPED"),
    ):
        stops(ecs).stop_orphan(stopping, "without a record", {})
    assert ecs.stopped == [(RUNNING.task_arn, "without a record")]
