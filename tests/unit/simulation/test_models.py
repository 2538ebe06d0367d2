"""The models of AWS against what AWS documents, and against the embedded tables' own rules."""

import random
from dataclasses import replace

from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.writes import lowered, raised
from chalicelib.sessions.limits import Counter, Limit
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.table import Full, Lost
from simulation.meter import Meter, percentile
from simulation.models.dynamodb import Partitions, TableModel
from simulation.models.ecs import EcsModel
from simulation.models.expressions import holds, updated
from simulation.models.functions import Functions, ThrottledError
from simulation.models.latencies import Latencies
from simulation.models.scaling import AutoScaling
from simulation.virtual_time import VirtualTime

NONE = Latencies(run_task=0.0, ecs_read=0.0, handler=1.0, function_init=0.0, network=0.0)


class Parts:
    """The parts of the world that a model uses."""

    def __init__(self, latencies: Latencies = NONE, batch: int = 1) -> None:
        self.time = VirtualTime()
        self.meter = Meter(self.time.now, batch)
        chance = random.Random(1)
        self.ecs = EcsModel(self.time, self.meter, chance, latencies, batch)
        self.functions = Functions(self.time, self.meter, latencies, batch)
        self.table = TableModel(Partitions(self.time, self.meter, chance, latencies, batch))
        self.chance = chance

    def run_task(self, number: int):
        return self.ecs.run_task(
            startedBy=f"session/{number}",
            clientToken=f"token-{number}",
            taskDefinition="arn:x/y:1",
            overrides={"containerOverrides": [{"environment": []}]},
        )

    def now(self, *calls, seconds=10_000.0):
        """Make calls beside each other in virtual time; their results, or what they raised."""
        results = [None] * len(calls)

        def make(number):
            try:
                results[number] = calls[number]()
            except (ClientError, ThrottledError) as error:
                results[number] = error

        for number in range(len(calls)):
            self.time.spawn(lambda number=number: make(number))
        self.time.run(seconds)
        return results


# ECS: 100 at once, 40 a second in the long run (Request throttling for the Amazon ECS API).


def test_ecs_takes_a_hundred_starts_at_once_and_forty_a_second():
    parts = Parts()
    parts.ecs.add_host("a", 10_000)
    # No repetition: botocore's would spread them.
    taken = [0]

    def ask(number):
        if parts.ecs._buckets["starts"].take(parts.time.now()):
            taken[0] += 1

    for number in range(150):
        parts.time.later(0, lambda number=number: ask(number))
    parts.time.run(0.001)
    assert taken == [100]
    for tenth in range(100):
        for _ in range(10):
            parts.time.later(tenth / 10 + 0.001, lambda: ask(0))
    parts.time.run(10.0)
    assert 100 + 395 <= taken[0] <= 100 + 400


def test_a_throttled_call_is_repeated_as_botocore_does_and_then_fails():
    parts = Parts()
    parts.ecs.add_host("a", 10_000)
    results = parts.now(*(lambda n=n: parts.run_task(n) for n in range(400)))
    refused = [r for r in results if isinstance(r, ClientError)]
    assert refused
    assert {r.response["Error"]["Code"] for r in refused} == {"ThrottlingException"}
    assert len(results) - len(refused) == parts.meter.totals["tasks started"]


def test_a_repeated_token_finds_the_same_task():
    parts = Parts()
    parts.ecs.add_host("a", 10)
    first, second = parts.now(lambda: parts.run_task(1), lambda: parts.run_task(1), seconds=1)
    assert first["tasks"][0]["taskArn"] == second["tasks"][0]["taskArn"]
    assert parts.meter.totals["tasks started"] == 1


def test_a_full_cluster_has_five_hundred_wait_in_provisioning_and_refuses_more():
    parts = Parts()
    parts.ecs.on_event = events = []
    parts.ecs.on_event = events.append
    for second in range(20):
        for number in range(30):
            parts.time.spawn(
                lambda n=30 * second + number: parts.run_task(n), seconds=float(second)
            )
    parts.time.run(30)
    assert len(parts.ecs.provisioning) == 500
    assert parts.meter.totals["tasks started"] == 500
    parts.time.run(700)
    assert {event["stopCode"] for event in events} == {"TaskFailedToStart"}
    assert not parts.ecs.provisioning


def test_what_waits_is_placed_in_order_when_a_host_joins():
    parts = Parts()
    parts.now(*(lambda n=n: parts.run_task(n) for n in range(5)), seconds=1)
    host = parts.ecs.add_host("a", 3)
    placed = [task.started_by for task in host.tasks.values()]
    assert placed == ["session/0", "session/1", "session/2"]
    assert len(parts.ecs.provisioning) == 2


def test_the_first_task_on_a_host_waits_for_the_image_and_others_for_the_same_pull():
    parts = Parts(replace(NONE, pull=15.0, start=2.0, start_spread=0.0, place=0.5))
    host, running = parts.ecs.add_host("a", 10), []
    parts.ecs.on_running = lambda task: running.append(parts.time.elapsed)
    parts.now(lambda: parts.run_task(1), lambda: parts.run_task(2), seconds=30)
    assert running == [17.5, 17.5]
    parts.now(lambda: parts.run_task(3), seconds=30)
    assert running[2] == 32.5
    assert len(host.tasks) == 3


def test_tasks_are_spread_over_zones():
    parts = Parts()
    for zone in ("a", "b", "c"):
        parts.ecs.add_host(zone, 10)
    parts.now(*(lambda n=n: parts.run_task(n) for n in range(9)), seconds=1)
    assert [len(host.tasks) for host in parts.ecs.hosts.values()] == [3, 3, 3]


# Auto Scaling under ECS managed scaling.


def group(parts, **sizes):
    return AutoScaling(
        parts.time,
        parts.meter,
        parts.chance,
        parts.ecs,
        zones=("a", "b"),
        slots=10,
        minimum=1,
        maximum=8,
        **sizes,
    )


def test_hosts_come_a_few_minutes_after_they_are_needed_and_never_more_than_the_maximum():
    parts = Parts()
    group(parts).begin(1)
    parts.now(*(lambda n=n: parts.run_task(n) for n in range(100)), seconds=59)
    assert len(parts.ecs.hosts) == 1
    parts.time.run(240)
    assert len(parts.ecs.hosts) == 8
    assert len(parts.ecs.provisioning) == 20


def test_empty_hosts_go_after_fifteen_minutes_and_hosts_with_tasks_stay():
    parts = Parts()
    group(parts).begin(6)
    parts.now(lambda: parts.run_task(1), seconds=1)
    parts.time.run(14 * 60)
    assert len(parts.ecs.hosts) == 6
    parts.time.run(3 * 60)
    assert len(parts.ecs.hosts) == 2
    assert sum(len(host.tasks) for host in parts.ecs.hosts.values()) == 1


# Lambda and API Gateway.


def test_a_thousand_run_at_once_and_the_next_is_refused():
    parts = Parts()
    parts.functions._environments["f"] = 2_000

    def invoke():
        with parts.functions.invocation("f"):
            return "done"

    results = parts.now(*[invoke] * 1_100, seconds=5)
    assert results.count("done") == 1_000
    assert parts.meter.peaks["concurrent executions"] == 1_000


def test_a_function_gains_a_thousand_environments_in_ten_seconds():
    parts = Parts(replace(NONE, handler=0.0), batch=1)
    bucket_of = parts.functions._may_add
    assert sum(bucket_of("f") for _ in range(1_500)) == 1_000
    parts.time.run(5)
    assert sum(bucket_of("f") for _ in range(1_500)) == 500


def test_the_gateway_takes_bursts_of_five_thousand():
    parts = Parts()
    parts.functions._environments["api_handler"] = 10_000
    taken = sum(parts.functions._requests.take(parts.time.now()) for _ in range(8_000))
    assert taken == 5_000


# DynamoDB.


def session(name: str, **facts) -> Session:
    return Session(f"0000000{name}", "u", "k", "listings", None, "https://x", 0.0, 9.0, **facts)


LIMIT = Limit("total", 3, 0)


def test_one_transaction_at_a_time_has_an_item_and_the_other_conflicts():
    parts = Parts()
    counter = Counter("limit#total#0", 3, LIMIT)
    first, second = parts.now(
        lambda: parts.table.insert(
            session("1", owner=None) if False else session("1"), counters=[counter]
        ),
        lambda: parts.table.insert(session("2"), counters=[counter]),
        seconds=5,
    )
    assert isinstance(first, Session)
    assert second is Lost.CONFLICT


def test_of_two_that_claim_one_session_one_gets_it_and_counters_stop_at_their_maximum():
    parts = Parts()
    warm = session("1", state=State.WARM)
    parts.now(lambda: parts.table.insert(warm), seconds=1)
    taken = replace(warm, owner="a", state=State.RESERVED)
    assert isinstance(
        parts.now(lambda: parts.table.insert(taken, before=warm), seconds=1)[0], Session
    )
    assert parts.now(lambda: parts.table.insert(taken, before=warm), seconds=1) == [Lost.SESSION]
    full = Counter("limit#total#1", 1, LIMIT)
    parts.now(lambda: parts.table.insert(session("2"), counters=[full]), seconds=1)
    (refused,) = parts.now(lambda: parts.table.insert(session("3"), counters=[full]), seconds=1)
    assert isinstance(refused, Full)
    assert "00000003" not in parts.table.sessions


def test_a_partition_takes_a_thousand_units_a_second_and_the_rest_waits():
    parts = Parts()
    for number in range(600):  # two units each in one bucket of the index of live records
        draft = replace(session("0"), id=f"{number * 8:08x}-{number}", owner="somebody")
        parts.time.spawn(lambda draft=draft: parts.table.insert(draft))
    parts.time.run(0.01)
    assert len(parts.table.sessions) == 500
    parts.time.run(10)
    assert len(parts.table.sessions) == 600
    assert parts.meter.totals["throttled writes"] > 0


def test_the_pool_index_lags_behind_the_table():
    parts = Parts(replace(NONE, index_lag=2.0))
    parts.now(lambda: parts.table.insert(session("1", state=State.WARM)), seconds=1)
    (seen,) = parts.now(lambda: parts.table.read_pool("listings")[1], seconds=0.5)
    assert seen == []
    parts.time.run(1)
    (seen,) = parts.now(lambda: parts.table.read_pool("listings")[1], seconds=2)
    assert [one.id for one in seen] == ["00000001"]


# Expressions, against what they mean.


@given(st.none() | st.integers(0, 5), st.integers(0, 5))
def test_a_counter_is_raised_below_its_maximum_alone(before, maximum):
    item = None if before is None else {"id": "c", "n": before}
    write = raised("t", "c", maximum, 7, "member")
    is_below = before is None or before < maximum
    assert holds(write, item) is is_below
    after = updated(write, item)
    assert (after["n"], after["members"], after["expire_at"]) == ((before or 0) + 1, {"member"}, 7)


def test_a_counter_is_lowered_above_nothing_alone():
    write = lowered("t", "c", "m")
    assert not holds(write, None)
    assert not holds(write, {"n": 0})
    assert updated(write, {"n": 2, "members": frozenset({"m", "o"})})["members"] == {"o"}


@given(st.booleans(), st.booleans(), st.booleans())
def test_conditions_nest(first, second, third):
    item = {"a": 1 if first else 2, "b": 1 if second else 2}
    item |= {"c": 1} if third else {}
    a, b = Attr("a").eq(1), Attr("b").lt(2)
    write = expressions(condition=(a & ~b) | (Attr("c").not_exists() & b))
    assert holds(write, item) is ((first and not second) or (not third and second))


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
