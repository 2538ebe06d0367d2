"""Capacity groups in virtual time: guarantees, fairness between owners and exact counts."""

import re

import pytest

from local.aws.template import load_template
from simulation import groups
from simulation.models.plain_dynamodb import INDEXES
from tests.integration.lab import ROOT


@pytest.fixture(scope="module")
def document():
    return groups.run(sessions=20, seed=5)


def test_guarantees_are_kept_in_every_second_and_every_run_runs_once(document):
    assert document["broken"] == []
    assert (document["ranTwice"], document["neverRan"], document["gaveUp"]) == (0, 0, 0)
    assert (document["uncountedPlaces"], document["requestsFailed"]) == (0, 0)
    assert sum(group["most"] for group in document["groups"].values()) > document["places"]
    assert document["jobs"] == 201


def test_a_single_run_behind_hundreds_of_another_owner_starts_third_at_the_latest(document):
    assert document["startsBeforeTheSingleRun"] <= 2


def test_the_same_seed_gives_the_same_figures_and_another_one_others(document):
    assert groups.run(sessions=2, seed=5) == groups.run(sessions=2, seed=5)
    assert groups.run(sessions=2, seed=5) != groups.run(sessions=2, seed=6)


def test_a_broken_guarantee_is_told(document):
    world = groups.GroupsWorld(1, 1)
    waits = groups.Second({"live": 4, "reports": 1, "batch": 2}, {"reports"})
    borrows = groups.Second({"live": 4, "reports": 1, "batch": 3}, {"reports"})
    world._check_borrowing(waits, borrows, "second 2")
    assert world.broken == ["second 2: batch borrows, reports waits"]
    text = groups.text_of(document | {"broken": world.broken})
    assert re.search(r"guarantees +broken in 1 seconds: second 2", text)
    world.time.close()


def test_indexes_are_keyed_as_in_the_template():
    template = load_template((ROOT / "infra" / "template.yaml").read_text("utf-8"))
    keys = {
        index["IndexName"]: tuple(key["AttributeName"] for key in index["KeySchema"])
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::DynamoDB::Table"
        for index in resource["Properties"].get("GlobalSecondaryIndexes", ())
    }
    assert {name: keys[name] for name in INDEXES} == INDEXES
