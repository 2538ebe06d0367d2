"""A clock that was an hour ahead wrote impossible instants: no process waits for them."""

from dataclasses import replace

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.dynamodb.table import Table
from chalicelib.jobs import policy
from chalicelib.sessions import reaping
from chalicelib.tasks.lease import Busy, Held, Lease
from chalicelib.tasks.revisions import OPEN_SECONDS, Failing, RevisionState, is_open
from tests.unit.chalicelib.jobs.examples import accepted
from tests.unit.chalicelib.test_lifecycle import queued

NOW = 1_000_000.0


@pytest.fixture
def dynamodb(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="leases",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


AHEAD = st.floats(100, 10_000_000)
"""Seconds by which a clock was wrong, beyond every bound there is."""


@given(AHEAD)
def test_a_breaker_of_the_future_is_closed(ahead):
    failing = {"arn:1": Failing(5, "no", NOW + ahead)}
    assert not is_open(RevisionState("chat", failing=failing), "arn:1", NOW)


@given(st.floats(0, OPEN_SECONDS - 1))
def test_a_breaker_of_a_moment_ago_is_open(since):
    failing = {"arn:1": Failing(5, "no", NOW - since)}
    assert is_open(RevisionState("chat", failing=failing), "arn:1", NOW)


@given(AHEAD)
def test_a_rest_until_the_future_is_over(ahead):
    resting = replace(accepted(), next_try_at=NOW + ahead, refusals=1)
    found = policy.candidates(
        [resting], NOW, capacity_freed=False, launch_type_of=lambda _: "EC2", blocked=set()
    )
    assert list(found) == [resting]


@given(AHEAD)
def test_a_try_of_the_future_is_made_by_the_sweep(ahead):
    session = replace(queued(), tried_at=NOW + ahead, not_after=NOW + ahead + 1e9)
    assert list(reaping.plan_reaping([session], {}, {}, NOW)) == [reaping.Relaunch(session)]


@pytest.mark.parametrize(("ahead", "is_held"), [(0, True), (4, True), (-4, True), (3600, False)])
def test_a_lease_holds_for_clocks_that_differ_a_little(dynamodb, ahead, is_held):
    table = Table(dynamodb, "leases")
    one = Lease(table, "jobs", 15, lambda: NOW + ahead)
    other = Lease(table, "jobs", 15, lambda: NOW)
    assert isinstance(one.acquire(), Held)
    assert isinstance(other.acquire(), Busy if is_held else Held)


class SentTwice(Table):
    """The first reply of each update is lost, and the update sent again."""

    def update(self, *arguments):
        super().update(*arguments)
        return super().update(*arguments)


def test_a_rerun_whose_request_was_sent_twice_finds_itself(dynamodb):
    """moto returns nothing for an attribute that keeps its value, DynamoDB its old value."""
    assert isinstance(Lease(Table(dynamodb, "leases"), "jobs", 15, lambda: NOW).acquire(), Held)
    other = Lease(SentTwice(dynamodb, "leases"), "jobs", 15, lambda: NOW)
    assert other.acquire() == Busy(is_first=True)
