"""Many records, some of them hostile, written into the tables as they would be after months."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from chalicelib.jobs.items import to_item as invocation_item
from chalicelib.jobs.model import Change, Invocation, Priority, Reason, State
from chalicelib.schedules.items import to_item as schedule_item
from chalicelib.schedules.model import Schedule
from chalicelib.sessions.items import to_item as session_item
from chalicelib.sessions.model import Session
from chalicelib.sessions.model import State as SessionState

NAMES = ("<img src=x onerror=document.title='owned'>", "تقرير", "🎭 report", "tally")
TALL = 2**53 + 1
DAYS = 90
BATCH = 25
HOUR = 3_600.0
ARN = "arn:aws:ecs:us-east-1:123456789012"


def write_many(
    dynamodb: Any,
    *,
    invocations: int,
    running: int = 0,
    sessions: int = 0,
    schedules: int = 0,
    app: str = "session",
) -> None:
    """Fill the tables of stage `local`; the newest `running` invocations have not ended."""
    now = time.time()
    _write(dynamodb, "usher-local-jobs", _invocations(invocations, running, now))
    _write(dynamodb, "usher-local-jobs", map(schedule_item, _schedules(schedules, now)))
    _write(dynamodb, "usher-local-sessions", _sessions(sessions, app, now))


def write_left_out(dynamodb: Any, schedule: str, job: str) -> None:
    """A schedule of stage `local` that left two of its runs out, because it was late."""
    now = time.time()
    why = "9000 s late, and misfireSeconds is 60"
    runs = [
        Invocation(
            id=str(uuid.uuid4()),
            job=job,
            owner="api_key:opal",
            key="secret",
            priority=Priority.NORMAL,
            created_at=round(now - number, 3),
            not_after=now + HOUR,
            parameters=None,
            state=State.SKIPPED,
            finished_at=round(now - number, 3),
            reason=Reason.SKIPPED,
            detail=why,
            schedule_id=schedule,
            history=(Change(round(now - number, 3), State.SKIPPED, why),),
        )
        for number in range(2)
    ]
    _write(dynamodb, "usher-local-jobs", map(invocation_item, runs))
    late = replace(next(_schedules(1, now)), id=schedule, job=job, skipped=2)
    _write(dynamodb, "usher-local-jobs", iter([schedule_item(late)]))


def _invocations(count: int, running: int, now: float) -> Iterator[dict[str, Any]]:
    for number in range(count):
        at = round(now - 60 - number * DAYS * 86_400 / count, 3)
        runs = number < running
        state = State.STARTED if runs else State.FINISHED
        steps = (State.ACCEPTED, State.LAUNCHED, state)
        yield invocation_item(
            Invocation(
                id=str(uuid.uuid4()),
                job=NAMES[number % len(NAMES)],
                owner=f"api_key:{NAMES[number % 3]}",
                key="secret",
                priority=Priority.NORMAL,
                created_at=at,
                not_after=at + 24 * HOUR,
                parameters={"number": TALL, "name": NAMES[number % len(NAMES)]},
                state=state,
                started_at=at + 2,
                finished_at=None if runs else at + 20,
                reason=None if runs else Reason.SUCCEEDED,
                result=None if runs else {"text": NAMES[0]},
                history=tuple(Change(at + place, one, "x") for place, one in enumerate(steps)),
            )
        )


def _schedules(count: int, now: float) -> Iterator[Schedule]:
    for number in range(count):
        yield Schedule(
            id=f"nightly-{number:03}",
            job=NAMES[number % len(NAMES)],
            owner="api_key:opal",
            expression="cron(0 3 * * ? *)",
            timezone="America/New_York",
            created_at=now - HOUR,
            counts_from=now - HOUR,
            decided_until=now,
            parameters={"number": TALL},
            paused=number % 5 == 0,
        )


def _sessions(count: int, app: str, now: float) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield session_item(
            Session(
                id=str(uuid.uuid4()),
                uuid=str(uuid.uuid4()),
                key="secret",
                app=app,
                owner=f"api_key:{NAMES[number % len(NAMES)]}",
                callback_url="http://127.0.0.1:1",
                created_at=round(now - number, 3),
                not_after=now + HOUR,
                state=SessionState.ACTIVE,
                task_definition=f"{ARN}:task-definition/x:7",
                container_instance=f"{ARN}:container-instance/usher-local/{number % 50:032x}",
                ip="192.0.2.1",
                port=40_000 + number % 20_000,
            )
        )


def _write(dynamodb: Any, table: str, items: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(items, BATCH)):
        wanted = {table: [{"PutRequest": {"Item": item}} for item in batch]}
        while wanted:
            wanted = dynamodb.batch_write_item(RequestItems=wanted).get("UnprocessedItems") or {}
