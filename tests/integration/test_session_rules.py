"""Single rules of the lifecycle, each against the embedded cloud with time standing still."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chalicelib.errors import LimitError, RevisionFailingError
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.pool_reconciler import LEASE_SECONDS
from chalicelib.tasks.lease import Held, Lease
from chalicelib.tasks.probe import Found
from chalicelib.tasks.revisions import FAILURES_TO_OPEN
from chalicelib.wiring import Services, build
from tests.integration.lab import Lab, check_invariants
from tests.integration.wire import Fate, Point

LIMITED = """
[limits]
total = 9
per_owner = 2
per_second = 9

[apps.chat]
image = "any"
max_sessions = 9
queue_seconds = 100
pool = {minimum = 2, maximum = 2, max_age_seconds = 600}
"""
CLAIM = ["dynamodb.Query", "dynamodb.TransactWriteItems"]
FREE = '[apps.chat]\nimage = "any"\nqueue_seconds = 100\n'


@pytest.fixture
def lab(session_lab: Lab) -> Lab:
    session_lab.fresh(LIMITED)
    return session_lab


def pool_of(minimum: int) -> str:
    """Returns an apps file with a high limit and a pool of this size."""
    size = f"{{minimum = {minimum}, maximum = {minimum}}}"
    return f'[limits]\ntotal = 99\n[apps.chat]\nimage = "any"\npool = {size}\n'


def dispatch(lab: Lab, services: Services, owner: str = "me", key: str | None = None) -> Session:
    lab.now.move(lab.index_lag_seconds)  # indexes show by now what was written
    return services.sessions.service.dispatch(lab.request("chat", owner, key))


def fill(lab: Lab, services: Services) -> None:
    services.sweep.run()
    news(lab, services)
    lab.now.move(lab.index_lag_seconds)


def news(lab: Lab, services: Services) -> None:
    lab.send_all(services)
    lab.deliver_events(services)


@pytest.mark.parametrize("key", [None, "key"])
def test_a_warm_dispatch_is_two_round_trips_and_none_to_ecs(lab: Lab, key: str | None) -> None:
    lab.fresh(pool_of(4))
    services = lab.process()
    fill(lab, services)
    lab.wire.reset(None)
    assert dispatch(lab, services, key=key).pooled
    assert lab.wire.calls == CLAIM


def test_a_claim_that_leaves_few_sends_its_wake_up_message_beside_the_transaction(
    lab: Lab,
) -> None:
    lab.fresh(pool_of(4))
    services = lab.process()
    fill(lab, services)
    begun: list[Callable[[], None]] = []
    waited: list[int] = []

    def beside(call: Callable[[], None]) -> Callable[[], None]:
        begun.append(call)
        return lambda: waited.append(sum(call in CLAIM for call in lab.wire.calls))

    services = replace(services, environment=replace(services.environment, beside=beside))
    services = build(lab.config, services.clients, services.environment)
    calls_of = []
    for n in range(3):
        lab.wire.reset(None)
        assert dispatch(lab, services, owner=f"o{n}").pooled
        calls_of.append([call for call in lab.wire.calls if not call.startswith("ecs.")])
    assert calls_of == [CLAIM] * 3, "in sequence there are two round trips"
    assert (len(begun), waited) == (2, [2, 2]), "at half of the pool, and the answer waits for it"


def test_the_first_claim_of_a_new_process_asks_ecs_nothing_the_second_does(lab: Lab) -> None:
    lab.fresh(pool_of(6))
    fill(lab, lab.process())
    services = lab.process()
    lab.wire.reset(None)
    assert dispatch(lab, services, owner="first").pooled
    assert lab.wire.calls == CLAIM
    lab.wire.reset(None)
    assert dispatch(lab, services, owner="second").pooled
    assert sorted(lab.wire.calls) == [*CLAIM, "ecs.DescribeTaskDefinition"]


def test_a_new_process_whose_claim_is_lost_starts_on_what_ecs_says_is_newest(lab: Lab) -> None:
    first = lab.process()
    fill(lab, first)
    newest = lab.deploy("chat")
    for _ in range(2):  # the newest is proven, then the one before is drained
        lab.now.move(11)
        fill(lab, first)
    assert {s.revision for s in lab.sessions().values() if s.state is State.WARM} == {2}
    lab.aws.ecs.deregister_task_definition(taskDefinition=newest)
    services, taken = lab.process(), []

    def others_take_all() -> None:
        taken.extend(dispatch(lab, lab.other_process(), owner=f"o{n}") for n in range(2))

    lab.wire.meanwhile = (2, others_take_all)
    session = dispatch(lab, services)
    assert [other.revision for other in taken] == [2, 2], "warm ones that the sweep has to drain"
    assert (session.pooled, session.revision) == (False, 1)


def test_a_key_finds_its_session_whatever_is_refused_to_new_ones(lab: Lab) -> None:
    services = lab.process()
    first = dispatch(lab, services, key="key")
    for n in range(FAILURES_TO_OPEN):
        failing = dispatch(lab, services, owner=f"o{n}")
        lab.exit(lab.container_of(failing.id), code=1)
        lab.deliver_events(services)
    with pytest.raises(RevisionFailingError):
        dispatch(lab, services, owner="you")
    assert dispatch(lab, services, key="key").id == first.id
    lab.now.move(100)
    news(lab, services)
    second = dispatch(lab, services, key="other")
    with pytest.raises(LimitError):
        dispatch(lab, services, key="third")
    assert dispatch(lab, services, key="other").id == second.id
    check_invariants(lab)


@pytest.mark.parametrize("minimum", [1, 2, 3, 8])
def test_a_pool_claimed_by_clients_that_never_connect_is_filled_by_the_claims(
    lab: Lab, minimum: int
) -> None:
    lab.fresh(pool_of(minimum))
    services = lab.process()
    fill(lab, services)
    for n in range(minimum):
        assert dispatch(lab, services, owner=f"o{n}").pooled
    lab.take_messages(services)
    news(lab, services)
    lab.now.move(lab.index_lag_seconds)
    assert [s.state for s in services.sessions.table.read_pool("chat")[1]] == [State.WARM] * minimum
    assert dispatch(lab, services, owner="next").pooled
    check_invariants(lab)


@pytest.mark.parametrize(("minimum", "refills"), [(8, 6), (20, 2)])
def test_a_pool_is_never_left_below_half_by_claims_one_by_one(
    lab: Lab, minimum: int, refills: int
) -> None:
    lab.fresh(pool_of(minimum))
    services = lab.process()
    fill(lab, services)
    left = []
    for n in range(refills * minimum // 2):
        assert dispatch(lab, services, owner=f"o{n}").pooled
        left.append(sum(s.state is State.WARM for s in lab.sessions().values()))
        lab.now.move(2)
        lab.take_messages(services)
        news(lab, services)
    assert left == [*range(minimum - 1, minimum // 2 - 1, -1)] * refills


def test_a_lost_wake_up_message_costs_a_cold_start_and_no_more(lab: Lab) -> None:
    services = lab.process()
    fill(lab, services)
    for n in range(2):
        assert dispatch(lab, services, owner=f"o{n}").pooled
        assert lab.messages(), "taken and not answered for: lost until SQS shows it again"
    lab.now.move(lab.index_lag_seconds)
    assert services.sessions.table.read_pool("chat")[1] == []
    assert not dispatch(lab, services, owner="late").pooled
    lab.take_messages(services)
    news(lab, services)
    lab.now.move(lab.index_lag_seconds)
    assert [s.state for s in services.sessions.table.read_pool("chat")[1]] == [
        State.WARM,
        State.WARM,
    ]
    assert dispatch(lab, services, owner="next").pooled


@pytest.mark.parametrize("fate", [Fate.FAILS, Fate.REPLY_LOST])
def test_a_wake_up_message_that_cannot_be_sent_fails_no_claim(lab: Lab, fate: Fate) -> None:
    services = lab.process()
    fill(lab, services)
    lab.now.move(lab.index_lag_seconds)
    lab.wire.reset(Point(2, fate))
    assert dispatch(lab, services).pooled
    assert lab.wire.struck
    assert lab.wire.calls[1].startswith("sqs.")


def connected(lab: Lab, services: Services, **asked: str) -> Session:
    session = dispatch(lab, services, **asked)
    news(lab, services)
    lab.connect(session.id)
    news(lab, services)
    assert lab.sessions()[session.id].state is State.ACTIVE
    return session


def test_an_owner_at_the_limit_gets_the_place_of_one_session_whose_client_is_gone(lab: Lab) -> None:
    services = lab.process()
    first, second = connected(lab, services), connected(lab, services)
    with pytest.raises(LimitError):
        dispatch(lab, services)
    with pytest.raises(LimitError):  # the state of a silent container is unknown
        dispatch(lab, services_that_find(lab, Found.SILENT))
    for session in (first, second):
        lab.container_of(session.id).connected = False
    third = dispatch(lab, services)
    check_invariants(lab)
    states = [lab.sessions()[s.id].state for s in (first, second, third)]
    assert states[0] is State.STOPPING
    assert states[1] is State.ACTIVE
    lab.settle()
    lab.deliver_events(services)
    assert lab.sessions()[first.id].reason is Reason.DISCONNECTED
    check_invariants(lab)


def services_that_find(lab: Lab, found: Found) -> Services:
    services = lab.process()
    services.sessions.service._probe = lambda _: found
    return services


@pytest.mark.parametrize(
    ("state", "found", "is_replaced"),
    [
        (State.RESERVED, Found.ALONE, False),
        (State.RESERVED, Found.SILENT, True),
        (State.RESERVED, Found.REFUSED, True),
        (State.RESERVED, Found.OVER, True),
        (State.ACTIVE, Found.CONNECTED, False),
        (State.ACTIVE, Found.SILENT, False),
        (State.ACTIVE, Found.REFUSED, True),
    ],
)
def test_a_repeated_key_is_answered_with_a_container_that_is_there(
    lab: Lab, state: State, found: Found, is_replaced: bool
) -> None:
    services = services_that_find(lab, found)
    if state is State.ACTIVE:
        first = connected(lab, services, key="key")
    else:
        first = dispatch(lab, services, key="key")
        news(lab, services)
    assert lab.sessions()[first.id].state is state
    again = dispatch(lab, services, key="key")
    assert (again.id != first.id) is is_replaced
    check_invariants(lab)
    if is_replaced:
        assert lab.sessions()[first.id].reason is Reason.LOST
        news(lab, services)
        assert dispatch(lab, services_that_find(lab, Found.ALONE), key="key").id == again.id


def test_where_containers_are_not_reached_none_is_asked(lab: Lab) -> None:
    lab.config = replace(lab.config, private_addresses=True)
    services = services_that_find(lab, Found.REFUSED)
    first, _ = dispatch(lab, services, key="key"), connected(lab, services)
    news(lab, services)
    assert dispatch(lab, services, key="key").id == first.id
    with pytest.raises(LimitError):
        dispatch(lab, services)


def test_a_warm_one_past_its_age_is_handed_to_nobody(lab: Lab) -> None:
    services = lab.process()
    fill(lab, services)
    lab.now.move(601)
    assert not dispatch(lab, services).pooled


def test_a_stop_that_ecs_does_not_take_is_asked_for_again(lab: Lab) -> None:
    services = lab.process()
    session = dispatch(lab, services)
    news(lab, services)
    lab.wire.reset(Point(3, Fate.THROTTLED))
    asked = services.sessions.service.stop(session.id, Reason.STOPPED, "asked")
    assert lab.wire.calls[-1] == "ecs.StopTask"
    assert asked.state is State.STOPPING
    assert asked.task_arn in lab.running()
    lab.wire.reset(None)
    lab.now.move(60)
    services.sweep.run()
    assert asked.task_arn not in lab.running()


def test_a_start_on_a_revision_that_was_taken_back_moves_to_the_one_before(lab: Lab) -> None:
    services = lab.process()
    newest = lab.deploy("chat")
    assert dispatch(lab, services).revision == 2
    lab.aws.ecs.deregister_task_definition(taskDefinition=newest)
    session = dispatch(lab, services)
    assert (session.revision, session.state) == (1, State.STARTING)


def test_ecs_without_an_answer_takes_no_warm_session_away(lab: Lab) -> None:
    services = lab.process()
    fill(lab, services)
    lab.now.move(60)
    lab.faults.set({"calls": {"ecs.*": {"fail_before": {}}}})
    assert dispatch(lab, services).pooled


def test_what_waits_has_one_message_however_often_the_sweep_comes(lab: Lab) -> None:
    services = lab.process()
    with lab.without_room():
        dispatch(lab, services)
        for _ in range(5):
            lab.now.move(15)
            waiting = [m for m in lab.messages() if hasattr(m[1], "tries")]
            assert len(waiting) == 1
            lab.take_message(services, waiting[0])
            services.sweep.run()
    assert len([m for m in lab.messages() if hasattr(m[1], "tries")]) == 1


def test_the_lease_of_a_pool_is_released(lab: Lab) -> None:
    services = lab.process()
    app = lab.config.apps.by_name["chat"]
    assert services.sessions.pools.reconcile(app) is not None
    assert services.sessions.pools.reconcile(app) is None
    lab.now.move(1.01)
    assert services.sessions.pools.reconcile(app) is not None


def test_a_run_that_took_too_long_does_not_release_the_lease_of_another(lab: Lab) -> None:
    services, other = lab.process(), lab.other_process()
    app = lab.config.apps.by_name["chat"]

    def acquires_the_lease() -> None:
        lab.now.move(31)  # the lease of the first has expired
        lease = Lease(other.sessions.table.items, "pool#chat", LEASE_SECONDS, lab.now)
        assert isinstance(lease.acquire(), Held)

    lab.wire.meanwhile = (6, acquires_the_lease)
    assert services.sessions.pools.reconcile(app) is not None
    lab.now.move(2)
    assert services.sessions.pools.reconcile(app) is None


def becomes_ready(lab: Lab, services: Services, _: str) -> State:
    news(lab, services)
    return State.RESERVED


def gets_its_client(lab: Lab, services: Services, session_id: str) -> State:
    news(lab, services)
    if lab.sessions()[session_id].state is State.RESERVED:
        lab.connect(session_id)
    news(lab, services)
    return State.ACTIVE


def is_launched_in_the_last_moment(lab: Lab, services: Services, session_id: str) -> State:
    lab.now.move(-2)
    services.sessions.launches.relaunch(session_id)
    lab.now.move(2)
    return State.STARTING


@pytest.mark.parametrize(
    ("happens", "seconds"),
    [(becomes_ready, 301), (gets_its_client, 301), (is_launched_in_the_last_moment, 101)],
)
def test_a_session_that_moves_on_during_a_sweep_is_left_alone(
    session_lab: Lab, happens: Callable[[Lab, Services, str], State], seconds: float
) -> None:
    """An event happens before each call of the sweep in turn; an event in time keeps the
    session.
    """
    place, in_time = 0, 0
    while place == 0 or session_lab.wire.meanwhile is None:
        place += 1
        session_lab.fresh(FREE)
        session_id = overdue(session_lab, waits=happens is is_launched_in_the_last_moment)
        session_lab.now.move(seconds)
        came_to: list[bool] = []

        def meanwhile(session_id: str = session_id, came_to: list[bool] = came_to) -> None:
            expected = happens(session_lab, session_lab.other_process(), session_id)
            came_to.append(session_lab.sessions()[session_id].state is expected)

        services = session_lab.process()
        session_lab.wire.meanwhile = (place, meanwhile)
        services.sweep.run()
        if came_to == [True]:
            in_time += 1
            state = session_lab.sessions()[session_id].state
            assert state not in {State.STOPPING, State.ENDED}, f"lost at call {place}"
    assert in_time > 1
    print(f"{happens.__name__}: {in_time} of {place - 1} places were in time")


def overdue(lab: Lab, *, waits: bool) -> str:
    services = lab.process()
    if waits:
        with lab.without_room():
            return dispatch(lab, services).id
    return dispatch(lab, services).id
