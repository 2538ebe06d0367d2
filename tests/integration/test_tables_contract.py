"""The tables' code on three DynamoDBs: the embedded one, and two that others wrote.

The tables are those of infra/template.yaml. dynalite has no transactions and no TTL.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from chalicelib.audit.model import Action, Actor, AuditRecord, Kind, Outcome
from chalicelib.audit.model import Search as AuditSearch
from chalicelib.audit.table import Audit
from chalicelib.config import load_config
from chalicelib.dynamodb.table import Table
from chalicelib.grading.lifecycle import decide_hand_over
from chalicelib.grading.model import Grading, Submission, SubmittedPart
from chalicelib.grading.model import State as GradingState
from chalicelib.grading.table import Bounds, GradingTable
from chalicelib.jobs import lifecycle as job_lifecycle
from chalicelib.jobs.listings import Search
from chalicelib.jobs.model import KEPT_CHANGES, Place, Priority, Reason
from chalicelib.jobs.model import State as JobState
from chalicelib.jobs.policy import order_in_partition, range_of
from chalicelib.jobs.table import MAX_QUERIES, InvocationsTable, NotClaimed
from chalicelib.schedules.model import Schedule
from chalicelib.schedules.table import SchedulesTable
from chalicelib.sessions.containers import parse_cursor, queries_of, show_cursor
from chalicelib.sessions.items import request_key
from chalicelib.sessions.limits import Limit, counters_of
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.table import Answered, Full, Lost, SessionsTable
from chalicelib.tasks.lease import Busy, Held, Lease
from chalicelib.tasks.store import LIVE_BUCKETS
from local.aws.provision import read_plan
from tests.embedded_tables import EmbeddedTables
from tests.emulators import client, serve_ministack, serve_npm
from tests.expressions import ExpressionWatch
from tests.integration.conftest import wait_until
from tests.live_records import all_live
from tests.needs import needs_dynalite, needs_ministack
from tests.unit.chalicelib.grading.test_service import ASSIGNMENT
from tests.unit.chalicelib.jobs.examples import ARN, claimed, waiting
from tests.unit.chalicelib.jobs.examples import launched as launched_job
from tests.unit.chalicelib.jobs.examples import queued as queued_job
from tests.unit.chalicelib.test_lifecycle import START, asked_to_stop, launched
from tests.unit.chalicelib.test_lifecycle import queued as queued_session

CONFIG = load_config({"STAGE": "test"})
TEMPLATE = Path(__file__).parents[2] / "infra" / "template.yaml"
PLAN = [
    call
    for call in read_plan(TEMPLATE, {"Stage": "test"}, "us-east-1", "test")
    if call.service == "dynamodb"
]
EMBEDDED = "embedded"
MINISTACK = needs_ministack.parameter("ministack")


@pytest.fixture(scope="module")
def server(request):
    """A client of the server, and the calls that build the tables there."""
    if request.param == EMBEDDED:
        tables = EmbeddedTables()
        tables.reset()
        yield tables.client(), PLAN
    elif request.param == "dynalite":
        without_ttl = [call for call in PLAN if call.operation == "create_table"]
        with serve_npm("dynalite") as url:
            yield client("dynamodb", url), without_ttl
    else:
        with serve_ministack("dynamodb") as url:
            yield client("dynamodb", url), PLAN


@pytest.fixture
def dynamodb(server):
    """Empty tables, and a client that checks the expressions of requests."""
    dynamodb, plan = server
    for name in dynamodb.list_tables()["TableNames"]:
        dynamodb.delete_table(TableName=name)
        wait_until(lambda name=name: name not in dynamodb.list_tables()["TableNames"])
    for call in plan:
        getattr(dynamodb, call.operation)(**call.arguments)
    for name in dynamodb.list_tables()["TableNames"]:
        wait_until(lambda name=name: is_active(dynamodb.describe_table(TableName=name)["Table"]))
    watch = ExpressionWatch()
    watch.attach(dynamodb)
    yield dynamodb
    assert watch.seen


def is_active(table):
    indexes = table.get("GlobalSecondaryIndexes", ())
    states = {table["TableStatus"], *(index["IndexStatus"] for index in indexes)}
    return states == {"ACTIVE"}


any_server = pytest.mark.parametrize(
    "server", [EMBEDDED, needs_dynalite.parameter("dynalite"), MINISTACK], indirect=True
)
with_transactions = pytest.mark.parametrize("server", [EMBEDDED, MINISTACK], indirect=True)


@pytest.fixture
def sessions(dynamodb):
    return SessionsTable(dynamodb, CONFIG.sessions_table)


@pytest.fixture
def jobs(dynamodb):
    return InvocationsTable(dynamodb, CONFIG.jobs_table)


@pytest.fixture
def schedules(dynamodb):
    return SchedulesTable(dynamodb, CONFIG.jobs_table)


@pytest.fixture
def gradings(dynamodb):
    return GradingTable(dynamodb, CONFIG.grading_table)


def soon(seen, expected):
    """An index shows it in the end."""
    wait_until(lambda: seen() == expected, what=f"{expected}")


def warm(number):
    session = replace(queued_session(owner=None), id=f"{number:08x}-0000-4000-8000-000000000000")
    for fold in START:
        session = fold(session, 1001.0)
    return replace(session, created_at=1000.0 + number)


# Sessions.


@any_server
def test_a_session_is_put_once_and_a_write_expects_what_it_read(sessions):
    assert sessions.insert(queued_session()) == queued_session()
    assert sessions.insert(queued_session()) is Lost.SESSION
    quicker = sessions.replace(queued_session(), launched(queued_session(), 1001.0))
    assert sessions.replace(queued_session(), asked_to_stop(queued_session(), 1001.0)) is None
    assert sessions.get(queued_session().id) == quicker
    assert sessions.get("another") is None


@any_server
def test_a_pool_is_read_ready_ones_first(sessions):
    starting = replace(queued_session(owner=None), created_at=1.0, app="chat")
    for session in (warm(2), starting, warm(1)):
        sessions.insert(session)
    expected = [warm(1).id, warm(2).id, starting.id]
    soon(lambda: [session.id for session in sessions.read_pool("chat")[1]], expected)
    sessions.apps.change("chat", lambda state: replace(state, proven="arn:1"))
    soon(lambda: [sessions.read_pool("chat")[0].proven], ["arn:1"])
    assert [session.id for session in sessions.query_all("chat")[1]] == expected
    assert sorted(session.id for session in all_live(sessions)) == sorted(expected)


@any_server
def test_containers_are_counted_part_by_part_each_once(sessions):
    for number in range(20):
        session = replace(warm(number), app="chat" if number % 4 else "other")
        sessions.insert(replace(session, container_instance=f"host/{number % 3}"))
    soon(lambda: len(all_live(sessions)), 20)
    for limit, most in ((None, 1), (100, 2), (8, 20)):
        total, cursor, parts = Counter(), None, 0
        while parts == 0 or cursor is not None:
            positions = parse_cursor(cursor, LIVE_BUCKETS)
            part = sessions.count_containers("chat", queries_of(limit, positions))
            total += part.groups
            cursor = show_cursor(part.positions, LIVE_BUCKETS)
            parts += 1
        definition = warm(1).task_definition
        expected = Counter(f"host/{n % 3}" for n in range(20) if n % 4)
        assert total == {(definition, "WARM", host): n for host, n in expected.items()}
        assert parts <= most
    assert len(all_live(sessions)) == 20, "other queries of the same client have their items"


@any_server
def test_counters_stop_at_their_maximum(sessions):
    assert [sessions.items.count("rate#1", 2, 9) for _ in range(3)] == [True, True, False]
    assert sessions.items.counted("rate#1") == 2
    assert sessions.items.count("free", None, 9)
    assert sessions.items.counted("nothing") == 0


@any_server
def test_many_items_are_read_at_once(sessions):
    numbers = range(230)
    for number in numbers:
        sessions.insert(warm(number))
    wanted = [warm(number).id for number in numbers]
    assert sorted(sessions.items.get_all([*wanted, "another"])) == sorted(wanted)


@with_transactions
def test_a_request_is_answered_once(sessions):
    key = request_key("somebody", "abc")
    first = queued_session()
    second = replace(first, id="11111111-2222-4333-8444-555555555555")
    assert sessions.insert(first, answers=Answered(key)) == first
    assert sessions.insert(second, answers=Answered(key)) is Lost.REQUEST
    assert (sessions.answered(key), sessions.get(second.id)) == (first.id, None)
    assert sessions.insert(second, answers=Answered(key, replaces=first.id)) == second
    assert sessions.answered(key) == second.id


@with_transactions
def test_a_claim_raises_counters_and_an_end_lowers_them(sessions):
    (counter,) = counters_of(Limit("total", 1, 9))
    sessions.insert(warm(1))
    sessions.insert(warm(2))
    mine = replace(warm(1), owner="me", counters=(counter.key,))
    won = sessions.insert(mine, before=warm(1), counters=[counter])
    assert isinstance(won, Session)
    assert sessions.insert(mine, before=warm(1)) is Lost.SESSION
    yours = replace(warm(2), owner="you", counters=(counter.key,))
    assert sessions.insert(yours, before=warm(2), counters=[counter]) == Full((counter,))
    assert sessions.items.counted(counter.key) == 1
    ended = sessions.replace(won, replace(won, state=State.ENDED, ended_at=1002.0))
    assert ended is not None
    assert sessions.items.counted(counter.key) == 0
    assert isinstance(sessions.insert(yours, before=warm(2), counters=[counter]), Session)
    soon(lambda: sessions.read_pool("chat")[1], [])


@with_transactions
def test_an_owners_counter_lists_what_it_counts_until_it_is_given_back(sessions):
    (counter,) = counters_of(Limit("owner/x", 3, 9))
    written = []
    for number in (1, 2):
        sessions.insert(warm(number))
        mine = replace(warm(number), owner="me", counters=(counter.key,))
        written.append(sessions.insert(mine, before=warm(number), counters=[counter]))
    assert sessions.counted_by([counter.key, "limit#total#0"]) == written
    leaving = replace(written[0], state=State.STOPPING, counters=())
    stopping = sessions.replace(written[0], leaving)
    assert stopping is not None
    assert sessions.counted_by([counter.key]) == written[1:]
    sessions.replace(stopping, replace(stopping, state=State.ENDED, ended_at=1002.0))
    assert sessions.items.counted(counter.key) == 1
    sessions.replace(written[1], replace(written[1], state=State.ENDED, ended_at=1002.0))
    assert (sessions.items.counted(counter.key), sessions.counted_by([counter.key])) == (0, [])


# Jobs.


def everything(limit, after=None, between=(0.0, 9_999_999.0)):
    return Search(between=between, limit=limit, after=after)


def pages_of(read, limit):
    after, found = None, []
    for _ in range(20):
        page = read(everything(limit, after))
        found += [invocation.id for invocation in page.invocations]
        after = page.after
        if after is None:
            break
    return found


@any_server
def test_an_invocation_is_put_once_and_found_by_all_its_indexes(jobs):
    invocations = [waiting(number) for number in range(7)]
    for invocation in invocations:
        assert jobs.put_if_absent(invocation) == invocation
    assert jobs.put_if_absent(invocations[0]) is None
    oldest_first = [invocation.id for invocation in invocations]
    soon(lambda: [i.id for page in jobs.waiting(Priority.NORMAL) for i in page], oldest_first)
    assert jobs.count_waiting(*range_of(None, Priority.NORMAL)) == 7
    third = order_in_partition(invocations[2])
    assert jobs.count_waiting(Priority.NORMAL, 0, third) == 3
    assert sorted(i.id for i in all_live(jobs)) == oldest_first
    newest_first = oldest_first[::-1]
    for limit in (2, 3, 7, 50):
        for whose in ({}, {"job": "report"}, {"owner": "ann"}, {"owner": "ann", "job": "report"}):
            soon(
                lambda limit=limit, whose=whose: pages_of(
                    lambda search: jobs.search(replace(search, **whose)), limit
                ),
                newest_first,
            )


@any_server
def test_a_listing_goes_on_after_a_place(jobs):
    for number in range(4):
        jobs.put_if_absent(waiting(number))
    last = Place(waiting(2).created_at, waiting(2).id)
    soon(
        lambda: [i.id for i in jobs.search(replace(everything(9, last), job="report")).invocations],
        [waiting(1).id, waiting(0).id],
    )


@any_server
def test_an_owner_with_few_does_not_pay_for_one_with_many(jobs, dynamodb):
    """B's three are older than all of A's: each has its place in a partition of B's own."""
    queries = []
    dynamodb.meta.events.register("before-call.dynamodb.Query", lambda **_: queries.append(1))
    mine = [waiting(n, owner="bob", job="report" if n % 2 else "export") for n in range(3)]
    for record in [*mine, *(waiting(n, owner="ann") for n in range(3, 150))]:
        jobs.put_if_absent(record)

    def listed(**filters):
        queries.clear()
        page = jobs.search(replace(everything(20), **filters))
        return [i.id for i in page.invocations], page.after, len(queries)

    ids = [record.id for record in mine[::-1]]
    soon(lambda: listed(owner="bob"), (ids, None, 1))
    soon(lambda: listed(owner="bob", job="report"), ([mine[1].id], None, 1))
    soon(lambda: listed(owner="bob", state=JobState.QUEUED), (ids, None, 1))
    assert listed(owner="bob", state=JobState.STARTED) == ([], None, 1)
    assert listed(owner="carl") == ([], None, 1)
    between = (mine[1].created_at, mine[1].created_at)
    assert listed(owner="bob", between=between) == ([mine[1].id], None, 1)


@any_server
def test_a_page_stops_at_its_bound_and_the_next_goes_on(jobs, dynamodb):
    queries = []
    dynamodb.meta.events.register("before-call.dynamodb.Query", lambda **_: queries.append(1))
    year = (0.0, 366 * 86_400.0)
    oldest = waiting(1)
    jobs.put_if_absent(oldest)
    soon(lambda: len(jobs.search(replace(everything(1), job="report")).invocations), 1)
    after, found, pages = None, [], 0
    while True:
        queries.clear()
        page = jobs.search(Search(between=year, limit=5, after=after))
        assert len(queries) <= MAX_QUERIES
        found += page.invocations
        pages += 1
        after = page.after
        if after is None:
            break
        assert page.invocations == ()
    assert [i.id for i in found] == [oldest.id]
    assert pages == -(-367 // MAX_QUERIES)
    # A past day without rows stays empty: the same search, as a page repeats it to update.
    queries.clear()
    page = jobs.search(Search(between=year, limit=5))
    assert ([i.id for i in page.invocations], page.after, len(queries)) == ([oldest.id], None, 3)


@any_server
def test_a_day_that_may_get_rows_yet_is_looked_at_again(jobs):
    today = Search(between=(0.0, waiting(1).created_at), limit=5)
    assert jobs.search(today).invocations == ()
    jobs.put_if_absent(waiting(1))
    soon(lambda: [i.id for i in jobs.search(today).invocations], [waiting(1).id])


@any_server
def test_a_start_key_outside_of_the_range_is_not_sent(jobs):
    """A row may be younger than `now` by the clock that answers the next page."""
    for number in range(3):
        jobs.put_if_absent(waiting(number))
    ahead = Place(waiting(2).created_at, waiting(2).id)
    search = Search((0.0, waiting(1).created_at), 9, ahead, owner="ann")
    soon(lambda: [i.id for i in jobs.search(search).invocations], [waiting(1).id, waiting(0).id])
    behind = Search((waiting(1).created_at, 9e6), 9, Place(1.0, waiting(0).id), owner="ann")
    assert jobs.search(behind).invocations == ()


def place_of(jobs, most):
    return NotClaimed.CAPACITY, jobs.place(most, 1_000.0)


@with_transactions
def test_places_are_taken_and_returned(jobs):
    first, second = waiting(1), waiting(2)
    jobs.put_if_absent(first)
    jobs.put_if_absent(second)
    won = jobs.claim(first, claimed(first), place_of(jobs, 1))
    assert won.version == first.version + 1
    assert jobs.claim(first, claimed(first), place_of(jobs, 5)) is NotClaimed.RECORD
    assert jobs.claim(second, claimed(second), place_of(jobs, 1)) is NotClaimed.CAPACITY
    assert jobs.running() == 1
    ended = job_lifecycle.finish(won, Reason.KILLED, "asked", 1_001.0)
    assert jobs.replace(won, replace(ended, attempt_counters=())) is not None
    assert jobs.running() == 0


def numbered(*invocations):
    return [replace(one, id=f"{n:08x}{one.id[8:]}") for n, one in enumerate(invocations)]


@any_server
def test_a_permit_is_written_unread_as_the_transition_is(jobs):
    was_refused = {"detail": "refused", "refusals": 3, "next_try_at": 9.5}
    every = numbered(claimed(), launched_job(), replace(launched_job(), **was_refused))
    for before in every:
        jobs.put_if_absent(before)
        asked = {"attempt": 1, "task_arn": ARN, "process": "p", "now": 7.25}
        assert jobs.permit(before.id, "another key", **asked) is None
        assert jobs.permit(before.id, before.key, **asked | {"attempt": 2}) is None
        if before.task_arn:
            assert jobs.permit(before.id, before.key, **asked | {"task_arn": "other"}) is None
        found = jobs.permit(before.id, before.key, **asked)
        expected = job_lifecycle.give_permit(before, 1, ARN, "p", 7.25)
        assert found == (before, replace(expected, version=before.version + 1))
        assert jobs.get(before.id) == found[1]
        assert jobs.permit(before.id, before.key, **asked) is None


@any_server
def test_no_permit_is_written_unread_where_it_would_not_be_the_transition(jobs):
    changes = launched_job().history[-1:]
    full = replace(launched_job(), history=changes * (KEPT_CHANGES + 1))
    killed = job_lifecycle.ask_for_end(launched_job(), "ann asked", 5.0)
    without_host = replace(launched_job(), waits_for_host=True)
    for before in numbered(full, killed, queued_job(), without_host):
        jobs.put_if_absent(before)
        asked = {"attempt": 1, "task_arn": ARN, "process": "p", "now": 7.0}
        assert jobs.permit(before.id, before.key, **asked) is None
        assert jobs.get(before.id) == before


@with_transactions
def test_a_count_that_somebody_deleted_keeps_no_other_from_being_lowered(jobs):
    invocation, counters = waiting(1), ("quota#gone", "quota#kept")
    jobs.put_if_absent(invocation)
    won = jobs.claim(invocation, claimed(invocation), place_of(jobs, 1))
    held = jobs.replace(won, replace(won, counters=counters))
    for key in counters:
        jobs.items.count(key, None, 2_000_000_000)
    jobs.items.delete("quota#gone")
    ended = job_lifecycle.finish(held, Reason.KILLED, "asked", 1_001.0)
    assert jobs.replace(held, ended).has_ended
    assert (jobs.running(), jobs.items.counted("quota#kept")) == (0, 0)


@any_server
def test_a_rerun_that_was_requested_is_not_requested_again(dynamodb):
    now = [1_000.0]
    table = Table(dynamodb, CONFIG.jobs_table)
    one, other = (Lease(table, "jobs", 15, lambda: now[0]) for _ in range(2))
    held = one.acquire(table.get(one.item_id))
    assert other.acquire(table.get(other.item_id)) == Busy(is_first=True)
    before = table.get(other.item_id)
    assert other.acquire(before) == Busy(is_first=False)
    assert table.get(other.item_id) == before
    assert one.runs_again(held)
    assert other.acquire(table.get(other.item_id)) == Busy(is_first=True)
    now[0] += 16
    assert isinstance(other.acquire(table.get(other.item_id)), Held)


@any_server
def test_a_lease_is_held_by_one(dynamodb):
    now = [1_000.0]
    table = Table(dynamodb, CONFIG.jobs_table)
    one, other = (Lease(table, "jobs", 15, lambda: now[0]) for _ in range(2))
    held = one.acquire()
    assert isinstance(held, Held)
    assert other.acquire() == Busy(is_first=True)
    assert other.acquire() == Busy(is_first=False)
    assert one.runs_again(held)
    assert not one.runs_again(held)
    again = other.acquire()
    assert isinstance(again, Held)
    now[0] += 60
    followed = one.acquire()
    assert isinstance(followed, Held)
    other.release(again)
    assert other.acquire() == Busy(is_first=True)
    one.release(followed, pause_seconds=2)
    assert other.acquire() == Busy(is_first=False)
    now[0] += 2.01
    assert isinstance(other.acquire(), Held)


@any_server
def test_what_is_remembered_of_revisions(jobs):
    jobs.revisions.change("report", lambda state: replace(state, proven="arn:1"))
    assert jobs.revisions.get("report").proven == "arn:1"


# Schedules.


@any_server
def test_schedules_are_listed_by_id_page_by_page(schedules):
    made = [
        Schedule(f"s{n:03}", "report", "ann", "rate(1 hour)", "UTC", 1.0, 1.0, 1.0)
        for n in range(5)
    ]
    for schedule in made:
        assert schedules.put_if_absent(schedule)
    assert not schedules.put_if_absent(made[0])
    soon(lambda: schedules.read_page(100, None)[0], made)
    page = schedules.page(2, "s001")
    assert ([s.id for s in page.schedules], page.after) == (["s002", "s003"], "s003")
    changed = schedules.replace(made[0], replace(made[0], paused=True))
    assert schedules.get("s000") == changed
    assert schedules.replace(made[0], made[0]) is None
    schedules.delete("s000")
    soon(lambda: schedules.read_page(100, None)[0], made[1:])


# Gradings.


def handed_in(number, learner="ada", created_at=1_000.0):
    """A submission of one part, and its grading."""
    of_part = f"{number:08x}-0000-4000-8000-00000000000a"
    part = SubmittedPart("p", f"submissions/{number}", (), of_part, max_score=10.0)
    made = Submission(
        f"{number:08x}-0000-4000-8000-000000000000",
        *("double", "tess", learner, created_at, 1, (part,)),
    )
    waits = Grading(
        id=of_part,
        submission=made.id,
        assignment="double",
        author="tess",
        part="p",
        learner=learner,
        revision=1,
        grader="graders/double",
        files=part.archive,
        max_score=10.0,
        flow=learner,
        turn=0,
        created_at=created_at,
        callback_base_url="http://d",
    )
    return made, [waits]


@with_transactions
def test_an_assignment_is_changed_where_it_is_what_was_read(gradings):
    first = replace(ASSIGNMENT, id="double")
    assert gradings.put_assignment(None, first) == []
    assert gradings.put_assignment(None, first) is None
    before = gradings.assignment("double")
    assert gradings.put_assignment(before, replace(before, title="Twice")) == []
    assert gradings.put_assignment(before, replace(before, title="Thrice")) is None
    soon(lambda: [each.title for each in gradings.assignments(10, None)[0]], ["Twice"])


@with_transactions
def test_submissions_are_counted_and_listed_newest_first_page_by_page(gradings):
    bounds = Bounds(waiting=3, handed_in=3)
    for number in range(3):
        made, waits = handed_in(number, created_at=1_000.0 + number)
        assert gradings.add(made, waits, bounds)[0] == made
    repeated = handed_in(0)
    assert gradings.add(*repeated, bounds) is None
    refused = gradings.add(*handed_in(3), bounds)
    assert "3" in refused.label
    other = handed_in(4, learner="bob", created_at=2_000.0)
    assert gradings.add(*other, bounds)

    def listed(learner):
        found, after = [], None
        while True:
            page, after = gradings.submissions("double", learner, 2, after)
            found += [int(each.id[:8], 16) for each in page]
            if after is None:
                return found

    soon(lambda: listed("ada"), [2, 1, 0])
    soon(lambda: listed(None), [4, 2, 1, 0])


@with_transactions
def test_judges_have_as_many_as_they_may_and_a_mark_is_written_once(gradings):
    for number, learner in enumerate(("ada", "ada", "bob")):
        assert gradings.add(*handed_in(number, learner), Bounds(0, 0))
    soon(lambda: [each.learner for each in gradings.waiting()], ["ada", "bob", "ada"])
    first, second, third = gradings.waiting()
    assert gradings.position(third) == 2
    given = gradings.hand_over(first, decide_hand_over(first, 1_001.0), 2, 1_001.0)
    assert gradings.hand_over(first, decide_hand_over(first, 1_001.0), 2, 1_001.0) is False
    assert isinstance(
        gradings.hand_over(second, decide_hand_over(second, 1_001.0), 2, 1_001.0), Grading
    )
    assert gradings.hand_over(third, decide_hand_over(third, 1_001.0), 2, 1_001.0) is True
    marked = given.moved(
        GradingState.FINISHED, finished_at=1_002.0, verdict="AC", score=10.0, attempt_counters=()
    )
    assert gradings.finish(given, marked) is not None
    assert gradings.finish(given, marked) is None
    assert gradings.submission(given.submission).parts[0].score == 10.0
    assert isinstance(
        gradings.hand_over(third, decide_hand_over(third, 1_003.0), 2, 1_003.0), Grading
    )


# Audit records.


def audited(number, at=1_800_000_000.0, who="api_key:ann"):
    actor = Actor(who, Kind.OPERATOR, "192.0.2.1", f"request-{number}")
    identity = f"{number:08x}-0000-4000-8000-000000000000"
    return AuditRecord(identity, at, actor, Action.INVOKE, f"invocations/{number}", Outcome.DONE)


def all_pages(audit, search):
    """The records of each page, to the end."""
    pages = []
    while True:
        page = audit.page(search)
        pages.append(list(page.records))
        if page.after is None:
            return pages
        search = replace(search, after=page.after)


@any_server
def test_audit_records_are_listed_newest_first_over_days_and_partitions(dynamodb):
    audit, now = Audit(dynamodb, CONFIG.audit_table, 90), 1_800_000_000.0
    made = [audited(n, now - n * 3_600.5, ("ann", "bob")[n % 2]) for n in range(60)]
    for record in made:
        audit.around(record, None, lambda: None, lambda _: {"state": "x"})
    span = (now - 10 * 86_400, now)
    pages = all_pages(audit, AuditSearch(span, 7))
    assert [r.id for page in pages for r in page] == [r.id for r in made]
    assert max(map(len, pages)) == 7
    of_bob = all_pages(audit, AuditSearch(span, 100, None, {"who": "bob"}))
    assert [r.id for page in of_bob for r in page] == [r.id for r in made[1::2]]
    narrow = audit.page(AuditSearch((made[20].at, made[10].at), 100))
    assert [r.id for r in narrow.records] == [r.id for r in made[10:21]]


@any_server
def test_more_records_of_one_instant_than_a_read_has_are_all_listed(dynamodb):
    audit = Audit(dynamodb, CONFIG.audit_table, 90)
    made = [audited(n, 1_800_000_000.0 + n % 2) for n in range(450)]
    for record in made:
        audit.around(record, None, lambda: None, lambda _: None)
    pages = all_pages(audit, AuditSearch((1_799_999_000.0, 1_800_000_001.0), 100))
    ids = [r.id for page in pages for r in page]
    assert sorted(ids) == sorted(r.id for r in made)
    assert len(set(ids)) == len(ids)


@any_server
def test_a_refusal_is_written_once_a_minute(dynamodb):
    one, other = (Audit(dynamodb, CONFIG.audit_table, 90) for _ in range(2))
    record = replace(audited(1), action=Action.REFUSED, outcome=Outcome.REFUSED)
    assert [one.refused(record), other.refused(record)] == [True, False]
    assert len(one.page(AuditSearch((record.at, record.at), 10)).records) == 1


@with_transactions
def test_a_record_is_written_with_its_change_or_neither_is(dynamodb, jobs, schedules):
    audit = Audit(dynamodb, CONFIG.audit_table, 90)
    first = waiting(1)

    def write(number):
        return audit.entry(audited(number)).write(None, {"state": "ACCEPTED"})

    assert jobs.put_if_absent(first, write(1)) == first
    assert jobs.put_if_absent(first, write(2)) is None
    killed = job_lifecycle.ask_for_end(first, "asked", 1_001.0)
    assert jobs.replace(first, killed, write(3)) is not None
    assert jobs.replace(first, killed, write(4)) is None
    schedule = Schedule("s", "job", "me", "rate(1 hour)", "UTC", 1.0, 1.0, 1.0)
    assert schedules.put_if_absent(schedule, write(5))
    assert not schedules.put_if_absent(schedule, write(6))
    assert schedules.delete("s", write(7))
    assert not schedules.delete("s", write(8))
    found = audit.page(AuditSearch((0.0, 1_800_000_001.0), 100)).records
    assert sorted(r.resource for r in found) == [f"invocations/{n}" for n in (1, 3, 5, 7)]
