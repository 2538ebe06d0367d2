"""Schedules with failures: lost writes, crashes between any two steps, two at once."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.audit.items import from_item
from chalicelib.audit.model import Action, Actor, AuditRecord, Kind, Outcome
from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.errors import BadRequestError, NotFoundError, UnavailableError
from chalicelib.jobs.model import Change, Invocation, Priority, Reason, State, planned_id
from chalicelib.metrics import ProcessMetrics
from chalicelib.schedules.requests import Fire, parse_schedule
from chalicelib.schedules.service import Schedules
from chalicelib.schedules.sweep import SchedulesKind
from chalicelib.schedules.table import SchedulesPage
from chalicelib.tasks.unreadable import UnreadableRecords

NOON = 1_767_268_800.0
HOUR = 3600


def entry(action=Action.SCHEDULE_PUT):
    actor = Actor("o", Kind.OPERATOR, "192.0.2.1", "request-1")
    record = AuditRecord("record-1", NOON, actor, action, "schedules/s", Outcome.DONE)
    return AuditEntry(record, "usher-local-audit", 90)


class CrashError(Exception):
    """The process ends here."""


class World:
    """A table, invocations and a clock in memory; can crash before the n-th step."""

    def __init__(self):
        self.now = NOON
        self.schedules = {}
        self.records = {}
        self.wakes = []
        self.forgotten = []
        self.ran = []
        self.refusal = None
        self.crash_at = None
        self.steps = 0
        self.audited = []
        config = type("Config", (), {"stage": "local", "callback_base_url": None})()
        self.service = Schedules(
            table=self,
            invocations=self,
            clock=self,
            config=config,
            now=lambda: self.now,
        )
        unreadable = UnreadableRecords(
            self, "schedule", kept_seconds=1, metrics=ProcessMetrics(), now=lambda: self.now
        )
        self.kind = SchedulesKind(
            table=self, schedules=self.service, unreadable=unreadable, now=lambda: self.now
        )

    def step(self):
        self.steps += 1
        if self.crash_at is not None and self.steps == self.crash_at:
            self.crash_at = None
            raise CrashError

    # The table.

    def get(self, schedule_id):
        return self.schedules.get(schedule_id)

    find = get

    def put_if_absent(self, schedule, *more):
        self.step()
        is_new = self.schedules.setdefault(schedule.id, schedule) is schedule
        self.audited += more if is_new else ()
        return is_new

    def replace(self, before, after, *more):
        self.step()
        found = self.schedules.get(before.id)
        if found is None or found.version != before.version:
            return None
        self.audited += more
        self.schedules[before.id] = replace(after, version=before.version + 1)
        return self.schedules[before.id]

    def delete(self, schedule_id, *more):
        found = self.schedules.pop(schedule_id, None)
        self.audited += more if found else ()
        return found is not None

    def page(self, limit, after):
        return SchedulesPage(tuple(self.schedules.values()), None)

    def read_page(self, limit, after):
        return list(self.schedules.values()), None

    # The invocations.

    def draft(self, *, invocation_id=None, callback_base_url, priority=None, **facts):
        if self.refusal is not None:
            raise self.refusal
        return Invocation(
            id=invocation_id or f"random-{len(self.records)}", key="k",
            priority=priority or Priority.NORMAL, created_at=self.now,
            not_after=self.now + HOUR, callback_base_url=callback_base_url,
            history=(Change(self.now, State.ACCEPTED, ""),), **facts,
        )  # fmt: skip

    def accept(self, draft, *, audit=None):
        self.step()
        if draft.id not in self.records:
            self.audited += [] if audit is None else [audit.write(None, {"job": draft.job})]
            self.ran.append(draft.planned_at)
        return self.records.setdefault(draft.id, draft)

    def skip(self, draft, why):
        self.step()
        return self.records.setdefault(draft.id, replace(draft, state=State.SKIPPED, detail=why))

    def kill(self, invocation_id, cause):
        self.step()
        if invocation_id not in self.records:
            raise NotFoundError("no such invocation")
        return self.end(invocation_id, Reason.KILLED)

    def get_record(self, invocation_id):
        return self.records.get(invocation_id)

    def end(self, invocation_id, reason=Reason.SUCCEEDED):
        ended = replace(self.records[invocation_id], state=State.FINISHED, reason=reason)
        self.records[invocation_id] = ended
        return ended

    # The clock.

    def wake_at(self, at, message, queue, name=None):
        self.step()
        self.wakes.append((at, name))
        return True

    def forget(self, name):
        self.forgotten.append(name)

    # Methods for tests.

    def put(self, expression="cron(0 * * * ? *)", **settings):
        body = {"job": "report", "expression": expression, **settings}
        wanted = parse_schedule("s", body, owner="o", callback_base_url="http://x", now=self.now)
        return self.service.put(wanted, entry())

    def fire(self, planned=None):
        self.service.fire(Fire("s", planned or self.now))

    def sweep(self):
        actions = [a for found in self.read_page(100, None)[0] for a in self.kind.plan(found, {})]
        names = []
        for name, step in self.kind.steps(actions):
            names.append(name)
            step()
        return names

    def run_of(self, planned):
        return self.records[planned_id("s", planned)]


@pytest.fixture
def world():
    return World()


def test_a_new_schedule_is_armed_and_another_put_changes_it(world):
    assert world.put() == (world.schedules["s"], True)
    assert world.wakes == [(NOON + HOUR, "schedule-s")]
    changed, is_new = world.put("rate(2 hours)")
    assert not is_new
    assert changed.expression == "rate(2 hours)"
    assert world.wakes[1:] == [(NOON + 2 * HOUR, "schedule-s")]


def test_what_the_job_does_not_take_is_not_written(world):
    world.refusal = BadRequestError("no")
    with pytest.raises(BadRequestError):
        world.put()
    assert world.schedules == {}


def test_a_firing_runs_once_and_arms_the_next(world):
    world.put(parameters={"a": 1}, priority="low")
    world.now = NOON + HOUR + 2
    for _ in range(3):
        world.fire(NOON + HOUR)
    assert world.ran == [NOON + HOUR]
    run = world.run_of(NOON + HOUR)
    assert (run.parameters, run.priority, run.schedule_id) == ({"a": 1}, Priority.LOW, "s")
    assert (run.planned_at, run.owner, run.callback_base_url) == (NOON + HOUR, "o", "http://x")
    assert world.wakes[-1] == (NOON + 2 * HOUR, "schedule-s")
    assert len(world.wakes) == 2


def test_a_clock_that_is_a_little_behind_loses_no_time(world):
    world.put()
    world.now = NOON + HOUR - 0.5
    world.fire(NOON + HOUR)
    assert world.ran == [NOON + HOUR]


def test_a_message_that_is_far_too_early_or_for_what_is_gone_does_nothing(world):
    world.put()
    world.fire(NOON + HOUR)
    assert world.ran == []
    world.service.delete("s", entry())
    world.now = NOON + HOUR
    world.fire()
    assert (world.ran, world.forgotten) == ([], ["schedule-s"])


@pytest.mark.parametrize(
    ("overlap", "second", "first"),
    [
        ("allow", State.ACCEPTED, None),
        ("skip", State.SKIPPED, None),
        ("replace", State.ACCEPTED, Reason.KILLED),
    ],
)
def test_overlap(world, overlap, second, first):
    world.put(overlap=overlap)
    for n in (1, 2):
        world.now = NOON + n * HOUR
        world.fire()
    assert world.run_of(NOON + 2 * HOUR).state is second
    assert world.run_of(NOON + HOUR).reason is first
    world.end(planned_id("s", NOON + HOUR))
    if second is not State.SKIPPED:
        world.end(planned_id("s", NOON + 2 * HOUR))
    world.now = NOON + 3 * HOUR
    world.fire()
    assert world.run_of(NOON + 3 * HOUR).state is State.ACCEPTED


def test_a_paused_schedule_is_silent_until_it_is_resumed(world):
    world.put()
    world.service.pause("s", entry())
    world.now = NOON + 3 * HOUR
    world.fire()
    assert (world.sweep(), world.ran) == ([], [])
    world.service.resume("s", entry())
    assert world.wakes[-1] == (NOON + 4 * HOUR, "schedule-s")
    world.now = NOON + 4 * HOUR
    world.fire()
    assert world.ran == [NOON + 4 * HOUR]


def test_run_now_is_besides_the_times_and_repeatable(world):
    world.put()
    caller = Caller("me", key_scope="me")
    runs = [world.service.run_now("s", caller, "key", lambda _: entry()) for _ in range(2)]
    run = runs[0][0]
    assert runs == [(run, True), (run, False)]
    assert (run.schedule_id, run.planned_at, run.owner) == ("s", None, "me")
    assert world.service.run_now("s", caller, None, lambda _: entry())[0].id != run.id
    with pytest.raises(NotFoundError):
        world.service.run_now("none", caller, None, lambda _: entry())


def test_every_change_by_a_caller_has_its_record_in_the_same_write_and_time_has_none(world):
    world.put(parameters={"password": "secret"})
    world.put("rate(2 hours)", parameters={"password": "secret"})
    for _ in range(2):  # the second changes nothing
        world.service.pause("s", entry(Action.SCHEDULE_PAUSE))
    world.service.resume("s", entry(Action.SCHEDULE_RESUME))
    for _ in range(2):
        world.service.run_now("s", Caller("me", "me"), "key", lambda _: entry(Action.SCHEDULE_RUN))
    world.now = NOON + 2 * HOUR
    world.fire()
    world.service.delete("s", entry(Action.SCHEDULE_DELETE))
    with pytest.raises(NotFoundError):
        world.service.delete("s", entry(Action.SCHEDULE_DELETE))
    records = [from_item(write["Put"]["Item"]) for write in world.audited]
    changed = [
        (r.before and r.before["expression"], r.after and r.after.get("expression"))
        for r in records
    ]
    hourly, rate = "cron(0 * * * ? *)", "rate(2 hours)"
    assert [record.action.value.partition(".")[2] for record in records] == [
        "put", "put", "pause", "resume", "run", "delete",
    ]  # fmt: skip
    assert changed == [
        (None, hourly),
        (hourly, rate),
        (rate, rate),
        (rate, rate),
        (None, None),
        (rate, None),
    ]
    assert [(r.before["paused"], r.after["paused"]) for r in records[2:4]] == [
        (False, True),
        (True, False),
    ]
    assert "secret" not in str(world.audited)


def test_a_job_that_is_gone_is_told_and_does_not_hold_up_the_schedule(world):
    world.put()
    world.refusal = BadRequestError("no job is called report")
    world.now = NOON + HOUR
    world.fire()
    assert "no job" in world.schedules["s"].trouble
    assert world.wakes[-1] == (NOON + 2 * HOUR, "schedule-s")
    world.refusal, world.now = None, NOON + 2 * HOUR
    world.fire()
    assert (world.schedules["s"].trouble, world.ran) == (None, [NOON + 2 * HOUR])


def test_what_does_not_answer_is_asked_again(world):
    world.put()
    world.refusal, world.now = UnavailableError("down"), NOON + HOUR
    with pytest.raises(UnavailableError):
        world.fire()
    world.refusal, world.now = None, NOON + HOUR + 60
    assert world.sweep() == ["Schedule_carry_out"]
    assert world.ran == [NOON + HOUR]


@pytest.mark.parametrize("overlap", ["allow", "skip", "replace"])
@pytest.mark.parametrize("crash_at", range(1, 12))
def test_wherever_it_crashes_each_run_is_asked_for_once(overlap, crash_at):
    world = World()
    world.put(overlap=overlap, misfireSeconds=3600)
    world.steps, world.crash_at = 0, crash_at
    for n in (1, 2, 3):
        world.now = NOON + n * HOUR
        try:
            world.fire()
        except CrashError:
            world.now += 80
            world.sweep()
    expected = [NOON + n * HOUR for n in (1, 2, 3)]
    assert world.ran == (expected if overlap != "skip" else expected[:1])
    assert sorted(run.planned_at for run in world.records.values()) == expected
    schedule = world.schedules["s"]
    assert schedule.pending is None
    world.now += 80
    world.sweep()
    assert world.schedules["s"].armed_for == NOON + 4 * HOUR


@given(st.data())
def test_schedulers_at_once_make_one_run_of_each_instant(data):
    """Each scheduler stops before any of its steps and goes on in any order with the others."""
    world = World()
    world.put(overlap="skip")
    world.now = NOON + 3 * HOUR + 5
    turns = [threading.Semaphore(0) for _ in range(3)]
    arrived = threading.Semaphore(0)
    mine = threading.local()
    fired, over = [], set()

    def step():
        number = getattr(mine, "number", None)
        if number is not None:
            arrived.release()
            turns[number].acquire()

    world.step = step

    def fire(number):
        mine.number = number
        step()
        try:
            world.fire(NOON + 3 * HOUR)
            fired.append(number)
        finally:
            over.add(number)
            arrived.release()

    threads = [threading.Thread(target=fire, args=(n,), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        arrived.acquire()
    while len(over) < 3:
        waiting = [n for n in range(3) if n not in over]
        turns[data.draw(st.sampled_from(waiting))].release()
        arrived.acquire()
    assert sorted(fired) == [0, 1, 2]
    assert world.ran == [NOON + 3 * HOUR]
    states = {run.planned_at: run.state for run in world.records.values()}
    assert states == {
        NOON + HOUR: State.SKIPPED,
        NOON + 2 * HOUR: State.SKIPPED,
        NOON + 3 * HOUR: State.ACCEPTED,
    }
    assert world.schedules["s"].pending is None


def test_the_sweep_fires_what_nobody_fired_and_arms_what_is_not_armed(world):
    world.put()
    world.now = NOON + HOUR + 80
    assert world.sweep() == ["Schedule_fire"]
    assert world.ran == [NOON + HOUR]
    world.schedules["s"] = replace(world.schedules["s"], armed_for=None)
    assert world.sweep() == []  # another process may be about to arm it
    world.now += 20
    assert world.sweep() == ["Schedule_arm"]
    assert world.schedules["s"].armed_for == NOON + 2 * HOUR
    assert world.sweep() == []
