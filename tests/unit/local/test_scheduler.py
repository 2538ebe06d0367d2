"""EventBridge Scheduler through boto3's own eyes, on a clock that is moved by hand."""

import json
import threading
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from local.aws.scheduler.api import Scheduler
from local.aws.wire import Request, identify

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
TARGET = {"Arn": QUEUE, "RoleArn": "arn:aws:iam::123456789012:role/r"}
OFF = {"Mode": "OFF"}


class World:
    def __init__(self):
        self.now = START
        self.sent = []
        self.came = threading.Event()
        self.scheduler = Scheduler(self.send, "us-east-1", "123456789012", lambda: self.now)
        self.client = boto3.client(
            "scheduler",
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(retries={"total_max_attempts": 1}),
        )
        self.client.meta.events.register("before-send.scheduler.*", self.carry)

    def send(self, queue, body, parameters):
        self.sent.append((queue, body, parameters))
        self.came.set()

    def carry(self, request, **_):
        path = request.url.partition("amazonaws.com")[2]
        headers = {
            key.lower(): value.decode() if isinstance(value, bytes) else value
            for key, value in request.headers.items()
        }
        body = request.body or b""
        asked = Request(request.method, path, headers, body)
        answer = self.scheduler.answer(identify(asked), asked)
        raw = type("Raw", (), {"stream": lambda *_a, **_k: iter([answer.body])})()
        return AWSResponse(request.url, answer.status, dict(answer.headers), raw)

    def create(self, name, expression, **more):
        settings = {"FlexibleTimeWindow": OFF, "Target": TARGET} | more
        return self.client.create_schedule(Name=name, ScheduleExpression=expression, **settings)

    def move(self, **by):
        """Let time pass, and fire what is due then."""
        self.now += timedelta(**by)
        for entry, at in self.scheduler._take_due(self.now):
            self.scheduler._fire(entry, at)
        taken, self.sent = self.sent, []
        return taken

    def names(self, **query):
        return [s["Name"] for s in self.client.list_schedules(**query)["Schedules"]]


@pytest.fixture
def world():
    return World()


def test_a_one_time_schedule_sends_its_input_and_is_gone(world):
    given = {"Input": json.dumps({"at": "<aws.scheduler.scheduled-time>", "schedule": "s"})}
    world.create(
        "once",
        "at(2026-01-01T14:30:00)",
        ScheduleExpressionTimezone="Europe/Berlin",
        ActionAfterCompletion="DELETE",
        Target=TARGET | given,
    )
    assert world.move(minutes=89) == []
    ((queue, body, _),) = world.move(minutes=1)
    assert queue == QUEUE
    assert json.loads(body) == {"at": "2026-01-01T13:30:00Z", "schedule": "s"}
    assert world.names() == []


def test_one_that_is_not_to_be_deleted_stays_and_is_silent(world):
    world.create("once", "at(2026-01-01T12:01:00)")
    assert len(world.move(minutes=2)) == 1
    assert world.move(days=400) == []
    assert world.names() == ["once"]


def test_recurring_ones_are_due_again_and_again(world):
    world.create("rate", "rate(5 minutes)")
    world.create("cron", "cron(30 12 * * ? *)")
    assert len(world.move(seconds=1)) == 1  # a rate begins at once
    assert [len(world.move(minutes=5)) for _ in range(6)] == [1, 1, 1, 1, 1, 2]


def test_disabled_ended_and_changed_schedules(world):
    world.create("off", "rate(1 minute)", State="DISABLED")
    world.create("end", "rate(1 minute)", EndDate=START + timedelta(minutes=1, seconds=30))
    assert [len(world.move(minutes=1)) for _ in range(3)] == [1, 0, 0]
    world.client.update_schedule(
        Name="off", ScheduleExpression="at(2026-01-01T13:00:00)", FlexibleTimeWindow=OFF,
        Target=TARGET,
    )  # fmt: skip
    assert len(world.move(hours=1)) == 1
    shown = world.client.get_schedule(Name="off")
    assert (shown["State"], shown["GroupName"], shown["CreationDate"]) == (
        "ENABLED",
        "default",
        START,
    )


def test_groups_keep_schedules_apart_and_take_them_along(world):
    world.client.create_schedule_group(Name="g")
    world.create("a", "rate(1 day)", GroupName="g")
    world.create("a", "rate(1 day)")
    assert world.names(GroupName="g") == ["a"]
    assert world.names() == ["a", "a"]
    world.client.delete_schedule_group(Name="g")
    assert world.names() == ["a"]
    world.client.delete_schedule(Name="a", GroupName="default")
    assert world.names() == []


def test_a_repeated_request_is_answered_the_same_and_another_is_a_conflict(world):
    first = world.create("a", "rate(1 day)", ClientToken="t")
    assert world.create("a", "rate(1 day)", ClientToken="t")["ScheduleArn"] == first["ScheduleArn"]
    with pytest.raises(world.client.exceptions.ConflictException):
        world.create("a", "rate(1 day)")


def test_what_is_not_there_is_not_found(world):
    missing = world.client.exceptions.ResourceNotFoundException
    for action in (world.client.get_schedule, world.client.delete_schedule):
        with pytest.raises(missing):
            action(Name="none")
    with pytest.raises(missing):
        world.create("a", "rate(1 day)", GroupName="none")


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("at(2026-01-01)", "UTC"),
        ("at(2026-02-30T00:00:00)", "UTC"),
        ("at(2025-12-31T00:00:00)", "UTC"),
        ("0 0 9 ? * MON", "UTC"),
        ("rate(1 day)", "Mars/Olympus"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(world, expression, zone):
    with pytest.raises(world.client.exceptions.ValidationException):
        world.create("a", expression, ScheduleExpressionTimezone=zone)


def test_pages_follow_each_other(world):
    for n in range(5):
        world.create(f"s{n}", "rate(1 day)")
    pages = world.client.get_paginator("list_schedules").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["Schedules"]) for page in pages] == [2, 2, 1]


def test_the_thread_fires_what_is_due_and_ends(world):
    world.scheduler.start()
    world.create("now", "at(2026-01-01T12:00:00)")
    assert world.came.wait(5)
    world.scheduler.close()
    world.scheduler._thread.join(5)
    assert not world.scheduler._thread.is_alive()
