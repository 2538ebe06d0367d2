from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.faults import FaultError, Faults, Kind, parse_switches


def kinds(faults, call, times):
    return [tuple(fault.kind for fault in faults.for_call(call)) for _ in range(times)]


def switched(**document):
    faults = Faults()
    faults.set(document)
    return faults


def test_without_switches_nothing_happens():
    faults = Faults()
    assert faults.for_call("dynamodb.PutItem") == ()
    assert faults.deliveries() == (0.0,)
    assert faults.injected == {}


def test_skip_and_times_pick_the_calls_that_are_hit():
    faults = switched(calls={"ecs.RunTask": {"fail_before": {"skip": 2, "times": 1}}})
    assert kinds(faults, "ecs.RunTask", 5) == [(), (), (Kind.FAIL_BEFORE,), (), ()]
    assert faults.injected == {"ecs.RunTask fail_before": 1}


def test_a_pattern_hits_every_action_of_a_service_and_no_other_service():
    faults = switched(calls={"ecs.*": {"delay": {"seconds": 0.5}}})
    (fault,) = faults.for_call("ecs.StopTask")
    assert fault.seconds == 0.5
    assert faults.for_call("sqs.SendMessage") == ()


def test_an_error_without_a_status_is_the_callers_fault_and_without_both_the_services():
    document = {"a.B": {"fail_before": {"error": "E"}}, "c.D": {"fail_before": {}}}
    first, second = parse_switches({"calls": document}).calls
    assert (first.error, first.status) == ("E", 400)
    assert (second.error, second.status) == ("InternalServerError", 500)


def test_setting_switches_starts_their_counting_anew_but_not_the_record():
    faults = switched(calls={"a.B": {"lose_reply": {"times": 1}}})
    kinds(faults, "a.B", 3)
    faults.set({"calls": {"a.B": {"lose_reply": {"times": 1}}}})
    assert kinds(faults, "a.B", 2) == [(Kind.LOSE_REPLY,), ()]
    assert faults.injected == {"a.B lose_reply": 2}


@pytest.mark.parametrize(
    "document",
    [
        {"drop_event": 1},
        {"drop_events": 2},
        {"drop_events": -0.1},
        {"drop_events": True},
        {"late_events": {"probability": 1, "second": 1}},
        {"calls": ["ecs.RunTask"]},
        {"calls": {"RunTask": {"delay": {}}}},
        {"calls": {"ecs.RunTask": {"explode": {}}}},
        {"calls": {"ecs.RunTask": {"lose_reply": {"seconds": 1}}}},
        {"calls": {"ecs.RunTask": {"fail_before": {"probability": 1.5}}}},
    ],
)
def test_a_wrong_document_is_refused_and_the_old_one_stays(document):
    faults = switched(drop_events=1)
    with pytest.raises(FaultError):
        faults.set(document)
    assert faults.document == {"drop_events": 1}
    assert faults.deliveries() == ()


@given(seed=st.integers(0, 2**32), probability=st.floats(0.1, 0.9))
def test_the_same_seed_gives_the_same_faults(seed, probability):
    document = {
        "seed": seed,
        "duplicate_events": probability,
        "late_events": {"probability": probability, "seconds": 3},
        "calls": {"a.B": {"lose_reply": {"probability": probability}}},
    }
    runs = []
    for _ in range(2):
        faults = switched(**document)
        runs.append([(faults.deliveries(), len(faults.for_call("a.B"))) for _ in range(20)])
    assert runs[0] == runs[1]


@given(
    duplicate=st.floats(0, 1), drop=st.floats(0, 1), late=st.floats(0, 1), reorder=st.floats(0, 1)
)
def test_every_delivery_is_accounted_for(duplicate, drop, late, reorder):
    faults = switched(
        duplicate_events=duplicate,
        drop_events=drop,
        late_events={"probability": late, "seconds": 2},
        reorder_events=reorder,
    )
    copies = Counter(len(faults.deliveries()) for _ in range(50))
    injected = faults.injected
    assert copies[0] == injected.get("drop_events", 0)
    assert copies[2] == injected.get("duplicate_events", 0)
    assert copies.total() == 50
