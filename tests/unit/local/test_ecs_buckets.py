"""Request rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.ecs.api import EcsApi
from local.aws.ecs.buckets import UNLIMITED, Bucket, Buckets, Limits, Rate
from local.aws.ecs.errors import EcsApiError
from tests.unit.local.fakes import World


@given(
    st.lists(st.floats(-0.5, 3.0), max_size=60),
    st.integers(1, 5),
    st.floats(0.1, 4.0),
)
def test_never_more_than_the_burst_and_what_flowed_in(
    steps: list[float], burst: int, per_second: float
) -> None:
    bucket, now, latest, admitted = Bucket(Rate(burst, per_second), 0.0), 0.0, 0.0, 0
    for step in steps:
        now = max(0.0, now + step)
        latest = max(latest, now)
        admitted += bucket.take(now)
        assert admitted <= burst + latest * per_second + 1e-6


def test_a_bucket_fills_up_again_and_not_beyond_its_burst() -> None:
    bucket = Bucket(Rate(2, 1), 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(1.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


def test_actions_that_start_and_stop_share_a_bucket_reads_have_their_own() -> None:
    buckets = Buckets(Limits(modify=Rate(2, 1), read=Rate(1, 1)), 0.0)
    answers = [buckets.admit(a, 0.0) for a in ("RunTask", "StopTask", "StartTask", "ListTasks")]
    assert answers == [True, True, False, True]
    assert not buckets.admit("DescribeTasks", 0.0)
    assert buckets.admit("CreateCluster", 0.0)


def test_the_documented_rates() -> None:
    assert Limits() == Limits(modify=Rate(100, 40), read=Rate(100, 20), register=Rate(20, 1))
    buckets = Buckets(UNLIMITED, 0.0)
    assert all(buckets.admit("RunTask", 0.0) for _ in range(1000))


def test_over_the_rate_the_api_says_rate_exceeded() -> None:
    with World() as world:
        api = EcsApi(world.engine, limits=Limits(read=Rate(1, 0)))
        api.call("ListTasks", {})
        with pytest.raises(EcsApiError) as caught:
            api.call("ListTasks", {})
    assert (caught.value.code, caught.value.message) == ("ThrottlingException", "Rate exceeded")
