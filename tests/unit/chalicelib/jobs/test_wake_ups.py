"""The functions of the queues with the messages of a batch."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from chalice.app import SQSEvent

from chalicelib.api import jobs
from chalicelib.errors import BusyError


def batch(*bodies: str) -> SQSEvent:
    records = [
        {"messageId": f"m{number}", "body": body, "receiptHandle": ""}
        for number, body in enumerate(bodies)
    ]
    return SQSEvent({"Records": records}, None)


@pytest.fixture
def services(monkeypatch):
    made = SimpleNamespace(launcher=Mock(), invocations=Mock())
    monkeypatch.setattr(jobs, "_jobs", lambda: made)
    return made


def failed(answer: dict) -> list[str]:
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def test_messages_beside_an_unreadable_one_are_carried_out_and_it_alone_comes_back(services):
    bodies = ['{"invocation": "a"}', "garbage", '{"invocation": null, "roomWasMade": true}']
    assert failed(jobs._launch_waiting(batch(*bodies), "normal")) == ["m1"]
    services.launcher.run.assert_called_once_with(
        ["a"], capacity_freed=True, priority="normal", ends=0, of_messages=True
    )


def test_a_message_whose_record_is_busy_comes_back_alone(services):
    services.invocations.came_due.side_effect = [BusyError("busy"), None]
    due = '{"invocation": "%s", "comesDue": true}'
    assert failed(jobs._launch_waiting(batch(due % "a", due % "b"), "low")) == ["m0"]
    assert services.launcher.run.call_args.args == (["b"],)


def test_where_launching_fails_the_whole_batch_comes_back(services):
    services.launcher.run.side_effect = BusyError("busy")
    with pytest.raises(BusyError):
        jobs._launch_waiting(batch('{"invocation": "a"}'), "normal")


def test_a_batch_of_unreadable_messages_launches_nothing(services):
    assert failed(jobs._launch_waiting(batch("garbage", "{}"), "normal")) == ["m0", "m1"]
    services.launcher.run.assert_not_called()
