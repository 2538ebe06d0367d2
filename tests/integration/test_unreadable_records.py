"""A record that this version cannot read does not stop a sweep, and its task is not stopped."""

import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.audit.model import Action, Actor, AuditRecord, Kind, Outcome
from chalicelib.audit.table import AuditEntry
from chalicelib.callers import Caller
from chalicelib.contract.jobs import Outcome as JobOutcome
from chalicelib.dynamodb.records import Unreadable, read_record
from chalicelib.ecs.task_definitions import family_of
from chalicelib.errors import UnreadableRecordError
from chalicelib.jobs.items import from_item as invocation_of
from chalicelib.jobs.listings import Listing
from chalicelib.jobs.model import State as JobState
from chalicelib.schedules.items import schedule_key
from chalicelib.schedules.model import Schedule
from chalicelib.sessions.creation import new_session
from chalicelib.sessions.items import from_item as session_of
from chalicelib.sessions.model import Reason, State
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab
from tests.integration.lab import Lab
from tests.stored_items import Item, mutations

APPS = """
[apps.chat]
image = "chat"

[apps.pooled]
image = "pooled"
pool = {minimum = 2, maximum = 4}
"""
KEYS_OF_SESSIONS = frozenset({"live_bucket", "created_at", "pool", "pool_order"})
KEYS_OF_JOBS = frozenset(
    {
        "live_bucket",
        "created_at",
        "waiting",
        "waiting_order",
        "job",
        "day",
        "schedules",
        "invoked_by",
    }
)
bounded = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ANN = Caller("ann", key_scope="ann", is_operator=True)


# Sessions.


def twenty_sessions(lab: Lab) -> list[str]:
    """Connected, never connected, ended without a callback, never launched: five each. Returns
    their ids in order.
    """
    lab.fresh(APPS)
    services = lab.process()
    ids = [services.sessions.service.dispatch(lab.request("chat", f"u{n}")).id for n in range(15)]
    lab.deliver_events(services)
    lab.send_all(services)
    for session_id in ids[:5]:
        lab.connect(session_id)
    lab.send_all(services)
    for session_id in ids[10:]:
        lab.exit(lab.container_of(session_id), 1)
    lab.events()  # which are lost
    for number in range(5):
        session = new_session(
            services.environment.ids,
            app_name="chat",
            owner=f"forgotten {number}",
            callback_base_url="http://dispatcher",
            task_definition=services.revisions.newest(family_of("chat", "local")),
            now=lab.now(),
            queue_seconds=300,
        )
        services.sessions.table.insert(session)
        ids.append(session.id)
    lab.now.move(120)
    return ids


def session_item(lab: Lab, session_id: str) -> Item:
    answer = lab.aws.dynamodb.get_item(
        TableName=lab.config.sessions_table, Key={"id": {"S": session_id}}
    )
    return dict(answer["Item"])


def repaired(lab: Lab, ids: list[str]) -> dict[str, tuple[Any, Any]]:
    """Returns the states of sessions after one sweep."""
    services = lab.process()
    taken = lab.sweep(services)
    assert "failed" not in taken
    items = {session_id: session_item(lab, session_id) for session_id in ids}
    read = {key: read_record(item, session_of) for key, item in items.items()}
    return {
        key: (None, None) if isinstance(record, Unreadable) else (record.state, record.reason)
        for key, record in read.items()
    }


@pytest.fixture(scope="module")
def sessions_repaired(session_lab: Lab) -> dict[str, tuple[Any, Any]]:
    """The result of a sweep of the twenty where all can be read; their ids are the same each
    time.
    """
    expected = repaired(session_lab, twenty_sessions(session_lab))
    assert set(expected.values()) == {
        (State.ACTIVE, None),
        (State.ENDED, Reason.NEVER_CONNECTED),
        (State.ENDED, Reason.LOST),
        (State.STARTING, None),
    }
    return expected


@bounded
@given(data=st.data())
def test_one_session_of_twenty_that_cannot_be_read_stops_no_repair(
    session_lab: Lab, sessions_repaired: dict[str, tuple[Any, Any]], data: Any
) -> None:
    expected = sessions_repaired
    ids = twenty_sessions(session_lab)
    bad = ids[data.draw(st.integers(0, 4), label="which of those that are served")]
    before = session_item(session_lab, bad)
    item = data.draw(mutations(before, KEYS_OF_SESSIONS))
    session_lab.aws.dynamodb.put_item(TableName=session_lab.config.sessions_table, Item=item)
    session_lab.now.move(2)  # until the indexes show it
    after = repaired(session_lab, ids)
    others = [session_id for session_id in ids if session_id != bad]
    assert [after[key] for key in others] == [expected[key] for key in others]
    assert before["task_arn"]["S"] in session_lab.running()
    left = session_item(session_lab, bad)
    if isinstance(read_record(item, session_of), Unreadable):
        left.pop("expire_at")
        item.pop("expire_at", None)
        assert left == item, "nothing is written over it"


def an_unknown_state(lab: Lab, session_id: str) -> Item:
    item = session_item(lab, session_id) | {"state": {"S": "HIBERNATING"}}
    lab.aws.dynamodb.put_item(TableName=lab.config.sessions_table, Item=item)
    lab.now.move(2)  # until the indexes show it
    return item


def test_events_and_messages_of_an_unreadable_session_change_nothing(session_lab: Lab) -> None:
    ids = twenty_sessions(session_lab)
    services = session_lab.process()
    an_unknown_state(session_lab, ids[0])
    container = session_lab.container_of(ids[0])
    services.sessions.launches.launch_later(ids[0], 1)
    session_lab.exit(container, 0)
    session_lab.deliver_events(services)
    assert session_lab.messages() == []
    assert session_item(session_lab, ids[0])["state"] == {"S": "HIBERNATING"}
    with pytest.raises(UnreadableRecordError) as refused:
        services.sessions.service.get(ids[0], Caller("u0", key_scope="u0"))
    assert (refused.value.status, refused.value.code) == (503, "unreadable_record")


def test_it_is_marked_to_expire_once_and_readable_again_it_lives_on(session_lab: Lab) -> None:
    ids = twenty_sessions(session_lab)
    services = session_lab.process()
    item = an_unknown_state(session_lab, ids[0])
    session_lab.sweep(services)
    marked = session_item(session_lab, ids[0])["expire_at"]
    assert int(marked["N"]) > session_lab.now() + 6 * 86_400
    session_lab.now.move(3_600)
    session_lab.sweep(services)
    assert session_item(session_lab, ids[0])["expire_at"] == marked
    known = item | {"state": {"S": "ACTIVE"}, "expire_at": marked, "later": {"SS": ["a"]}}
    session_lab.aws.dynamodb.put_item(TableName=session_lab.config.sessions_table, Item=known)
    services.sessions.service.stop(ids[0], Reason.STOPPED, "asked")
    written = session_item(session_lab, ids[0])
    assert "expire_at" not in written
    assert written["later"] == {"SS": ["a"]}, "what another version knows is kept"


def test_an_unreadable_member_of_a_pool_has_its_place_until_its_container_is_too_old(
    session_lab: Lab,
) -> None:
    session_lab.fresh(APPS)
    services = session_lab.process()
    app = services.config.apps.by_name["pooled"]
    services.sessions.pools.reconcile(app)
    session_lab.deliver_events(services)
    session_lab.send_all(services)
    members = [s.id for s in session_lab.sessions().values()]
    assert len(members) == 2
    an_unknown_state(session_lab, members[0])
    session_lab.now.move(60)
    session_lab.sweep(services)
    assert len(session_lab.running()) == 2, "none is started in its place, none is stopped"
    claimed = services.sessions.service.dispatch(session_lab.request("pooled", "ann"))
    assert claimed.id == members[1]
    services.sessions.service.on_host_leaving("another host")
    session_lab.now.move(app.pool.max_age_seconds)
    upkeep = services.sessions.pools.reconcile(app)
    assert upkeep is not None
    assert upkeep.started == 2


def test_a_damaged_state_of_an_app_is_made_anew(session_lab: Lab) -> None:
    session_lab.fresh(APPS)
    services = session_lab.process()
    app = services.config.apps.by_name["pooled"]
    services.sessions.pools.reconcile(app)
    key = {"id": {"S": "app#pooled"}}
    table = session_lab.config.sessions_table
    item = session_lab.aws.dynamodb.get_item(TableName=table, Key=key)["Item"]
    for damaged in (item | {"version": {"S": "x"}}, item | {"failing": {"S": "x"}}):
        session_lab.aws.dynamodb.put_item(TableName=table, Item=damaged)
        session_lab.now.move(60)
        assert services.sessions.service.dispatch(session_lab.request("pooled", "ann")) is not None
        assert services.sessions.pools.reconcile(app) is not None


# Jobs and schedules.


def entry(lab: JobLab) -> AuditEntry:
    actor = Actor("ann", Kind.OPERATOR, "192.0.2.1", "request-1")
    record = AuditRecord(
        str(uuid.uuid4()), lab.now(), actor, Action.SCHEDULE_PUT, "schedules/s", Outcome.DONE
    )
    return AuditEntry(record, lab.config.audit_table, 90)


def twenty_invocations(lab: JobLab) -> list[str]:
    """Running, no permit requested, ended without a report, never sent: five each. Returns their
    ids in order.
    """
    lab.begin(capacity=40, kept=0)
    services = lab.process()
    ids = [lab.put(JobState.STARTED) for _ in range(5)]
    ids += [lab.put(JobState.LAUNCHED) for _ in range(5)]
    ids += [lab.put(JobState.STARTED) for _ in range(5)]
    for invocation_id in ids[10:]:
        container = lab.job_of(invocation_id)
        lab.end(container, JobOutcome.FAILED)
        container.host.exit(container.runtime_id, _failed())
    lab.events()
    for _ in range(5):
        draft = services.jobs.invocations.draft(
            job="report", owner="ann", parameters=None, callback_base_url="http://d"
        )
        assert services.jobs.table.put_if_absent(draft) is not None
        ids.append(draft.id)
    lab.now.move(700)
    return ids


def _failed() -> Any:
    from local.hosts.base import Exit

    return Exit(1)


def job_item(lab: JobLab, invocation_id: str) -> Item:
    answer = lab.aws.dynamodb.get_item(
        TableName=lab.config.jobs_table, Key={"id": {"S": invocation_id}}
    )
    return dict(answer["Item"])


def put_job_item(lab: JobLab, item: Item) -> None:
    lab.aws.dynamodb.put_item(TableName=lab.config.jobs_table, Item=item)
    lab.now.move(2)  # until the indexes show it


def sweep_all(lab: JobLab, services: Services) -> dict[str, int]:
    return services.sweep_of(services.jobs.kind, services.schedules_kind).run()


def jobs_repaired(lab: JobLab, ids: list[str]) -> dict[str, tuple[Any, Any]]:
    taken = sweep_all(lab, lab.process())
    assert "failed" not in taken
    read = {key: read_record(job_item(lab, key), invocation_of) for key in ids}
    return {
        key: (None, None) if isinstance(record, Unreadable) else (record.state, record.reason)
        for key, record in read.items()
    }


@pytest.fixture(scope="module")
def invocations_repaired(job_lab: JobLab) -> list[tuple[Any, Any]]:
    """The result of a sweep of the twenty where all can be read, in their order."""
    expected = jobs_repaired(job_lab, twenty_invocations(job_lab))
    assert len(set(expected.values())) >= 3
    return list(expected.values())


@bounded
@given(data=st.data())
def test_one_invocation_of_twenty_that_cannot_be_read_stops_no_repair(
    job_lab: JobLab, invocations_repaired: list[tuple[Any, Any]], data: Any
) -> None:
    lab = job_lab
    ids = twenty_invocations(lab)
    bad = ids[data.draw(st.integers(0, 4), label="which of those that run")]
    before = job_item(lab, bad)
    item = data.draw(mutations(before, KEYS_OF_JOBS))
    put_job_item(lab, item)
    after = jobs_repaired(lab, ids)
    for here, there in zip(ids, invocations_repaired, strict=True):
        assert here == bad or after[here] == there
    assert before["task_arn"]["S"] in lab.running()


def test_lists_skip_what_cannot_be_read_and_one_of_it_is_a_503(job_lab: JobLab) -> None:
    lab = job_lab
    ids = twenty_invocations(lab)
    services = lab.process()
    put_job_item(lab, job_item(lab, ids[3]) | {"state": {"S": "PAUSED"}})
    listing = Listing(None, None, None, (0.0, lab.now() + 1), 50, None, "")
    page = services.jobs.invocations.search(listing, ANN)
    assert sorted(i.id for i in page.invocations) == sorted(set(ids) - {ids[3]})
    with pytest.raises(UnreadableRecordError):
        services.jobs.invocations.get(ids[3], ANN)
    with pytest.raises(UnreadableRecordError):
        services.jobs.invocations.kill(ids[3], "asked")


def test_one_at_the_head_of_the_queue_holds_up_nobody(job_lab: JobLab) -> None:
    lab = job_lab
    lab.begin()
    services = lab.process()
    first, second = (
        services.jobs.invocations.accept(
            services.jobs.invocations.draft(
                job="report", owner="ann", parameters=None, callback_base_url="http://d"
            )
        ).id
        for _ in range(2)
    )
    put_job_item(lab, job_item(lab, first) | {"attempt": {"S": "one"}})
    lab.now.move(20)
    assert services.jobs.launcher.run([first]) == 1
    assert job_item(lab, second)["state"] == {"S": "LAUNCHED"}


@pytest.mark.parametrize(
    "damage",
    [
        {"overlap": {"S": "queue"}},
        {"expression": {"S": "whenever"}},
        {"timezone": {"S": "Mars/Olympus"}},
        {"decided_until": {"S": "today"}},
        {"parameters": {"N": "1"}},
        {"pending": {"S": "x"}},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_one_schedule_that_cannot_be_read_stops_no_other(job_lab: JobLab, damage: Item) -> None:
    lab = job_lab
    lab.begin()
    services = lab.process()
    now = lab.now()
    for name in ("a", "b", "c"):
        schedule = Schedule(name, "report", "ann", "rate(1 minute)", "UTC", now, now, now)
        services.schedules.put(schedule, entry(lab))
    put_job_item(lab, job_item(lab, schedule_key("b")) | damage)
    lab.now.move(300)
    taken = sweep_all(lab, services)
    assert (taken["Schedule_fire"], taken.get("failed")) == (2, None)
    assert [s.id for s in services.schedules.page(50, None).schedules] == ["a", "c"]
    assert [s.id for s in services.schedules.page(1, "a").schedules] == []
    assert services.schedules.page(1, "a").after == "b"
    with pytest.raises(UnreadableRecordError):
        services.schedules.get("b")
    with pytest.raises(UnreadableRecordError):
        services.schedules.put(replace(services.schedules.get("a"), id="b"), entry(lab))
    services.schedules.delete("b", entry(lab))
    assert "Schedule_fire" not in sweep_all(lab, services)


def test_a_run_that_cannot_be_read_counts_as_running_for_its_schedule(job_lab: JobLab) -> None:
    lab = job_lab
    lab.begin()
    services = lab.process()
    now = lab.now()
    every_minute = Schedule("a", "report", "ann", "rate(1 minute)", "UTC", now, now, now)
    services.schedules.put(every_minute, entry(lab))
    lab.now.move(200)
    sweep_all(lab, services)
    run = services.schedules.get("a").last_invocation
    assert run is not None
    put_job_item(lab, job_item(lab, run) | {"state": {"S": "PAUSED"}})
    lab.now.move(200)
    sweep_all(lab, services)
    schedule = services.schedules.get("a")
    assert (schedule.last_invocation, schedule.trouble, schedule.pending) == (run, None, None)
    assert schedule.skipped > 0
