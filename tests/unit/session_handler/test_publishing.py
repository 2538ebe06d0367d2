"""A record counts as published once the sink accepts it, and a failure is reported."""

import asyncio
import base64

import pytest

from session_handler import publishing
from session_handler.feeds.kinesis_client import UNREACHABLE, KinesisError
from session_handler.publishing import Publisher, PublishError
from session_handler.settings import parse

SETTINGS = parse(
    {
        "SESSION_ID": "the-id",
        "SESSION_UUID": "6d6cf8ce-0000-4000-8000-000000000000",
        "FEED_WRITE_URL": "kinesis://updates",
    }
)


class Kinesis:
    """Answers with these errors, then takes."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = []

    async def call(self, operation, parameters):
        self.calls.append((operation, parameters))
        if self.errors:
            raise KinesisError(self.errors.pop(0), "no")


def publish(kinesis, data=None):
    async def run():
        publisher = Publisher(SETTINGS)
        publisher._client = kinesis
        await publisher.publish({"a": 1} if data is None else data, "key")

    asyncio.run(run())


def test_throttling_and_silence_are_waited_out():
    kinesis = Kinesis("ProvisionedThroughputExceededException", UNREACHABLE)
    publish(kinesis)
    assert len(kinesis.calls) == 3
    operation, parameters = kinesis.calls[-1]
    assert (operation, parameters["StreamName"]) == ("PutRecord", "updates")
    assert base64.b64decode(parameters["Data"]) == b'{"a":1}'


def test_what_never_will_be_taken_is_told_at_once():
    kinesis = Kinesis("AccessDeniedException")
    with pytest.raises(PublishError, match="AccessDenied") as told:
        publish(kinesis)
    assert (told.value.code, len(kinesis.calls)) == ("AccessDeniedException", 1)


def test_it_is_given_up_after_some_tries(monkeypatch):
    monkeypatch.setattr(publishing, "FIRST_PAUSE_SECONDS", 0.001)
    kinesis = Kinesis(*[UNREACHABLE] * 9)
    with pytest.raises(PublishError, match=UNREACHABLE):
        publish(kinesis)
    assert len(kinesis.calls) == publishing.TRIES


@pytest.mark.parametrize("data", [{1, 2}, float("nan"), "x" * 65_535, "\ud800"])
def test_other_data_is_refused_before_anything_is_sent(data):
    kinesis = Kinesis()
    with pytest.raises((TypeError, ValueError)):
        publish(kinesis, data)
    assert kinesis.calls == []
