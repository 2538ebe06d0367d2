"""Least privilege by table, index and queue: a right on one is none on another.

Two sources say what a function needs: the references of its code, followed from object to object
(`table_calls`), and the calls that the laboratories and the flows of tests/integration made
(`tests/integration/rights.json`). Code misses names that are passed as arguments, as those of
indexes and queues; calls miss what a cache or a rare path spares.
"""

import re

import pytest

from tests.rights import recorded, rights_of
from tests.unit.infra.code_calls import entry_points, read_code
from tests.unit.infra.table_calls import Objects, services

CODE = read_code()
OBJECTS = Objects(CODE, services())
FUNCTIONS = sorted(set(CODE.entries) - {"relay_records", "keep_feed_whole"})  # they have no table
TABLE = re.compile(r"(dynamodb:\w+) arn:aws:dynamodb:\*:\*:table/([^/]+)(/index/.+)?")
PARTS = {"dynamodb:ConditionCheckItem"}
"""Parts of transactions whose table is an argument; recorded calls show them."""
JOB_QUEUES = ("usher-dev-jobs-critical", "usher-dev-jobs-normal", "usher-dev-jobs-low")


def used(function: str) -> set[str]:
    return {right for where in recorded().values() for right in where.get(function, ())}


def tables_in(rights: set[str]) -> set[str]:
    """`dynamodb:Query TABLE` of each right on a table or an index of it."""
    return {f"{found[1]} {found[2]}" for right in rights if (found := TABLE.fullmatch(right))}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_action_on_a_table_that_the_code_comes_to_is_allowed_and_no_other(function):
    found, unnamed = OBJECTS.rights_of(function)
    # A pass of the sweep is an object of its own; its tables are those of the kinds of record.
    assert not unnamed or function == "sweep"
    allowed = {right for right in tables_in(rights_of(function)) if right.split()[0] not in PARTS}
    assert allowed == found


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_right_that_a_recorded_call_used_is_still_there(function):
    assert used(function) <= rights_of(function)
    assert used(function), "nothing is recorded of this function"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_index_that_may_be_queried_is_queried(function):
    """The flows do not query every index with every function; RARELY_QUERIED names the others."""
    indexes = {
        right
        for right in rights_of(function)
        if right.startswith("dynamodb:Query") and "/index/" in right
    }
    assert indexes - used(function) <= RARELY_QUERIED.get(function, set())


GRADINGS = "dynamodb:Query arn:aws:dynamodb:*:*:table/usher-dev-grading/index/waiting"
RARELY_QUERIED = {
    "api_handler": {
        # tests/integration/test_jobs_owners.py lists by owner
        "dynamodb:Query arn:aws:dynamodb:*:*:table/usher-dev-jobs/index/by_owner"
    },
    "fire_schedules": {GRADINGS},
    "run_critical_jobs": {GRADINGS},
    "run_normal_jobs": {GRADINGS},
    "run_low_jobs": {GRADINGS},
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_who_may_use_one_queue_of_jobs_may_use_all_three_the_same_way(function):
    """The priority of an invocation chooses the queue."""
    by_queue = [
        {right.split()[0] for right in rights_of(function) if right.endswith(f":{queue}")}
        - OF_TRIGGERS
        for queue in JOB_QUEUES
    ]
    assert by_queue[0] == by_queue[1] == by_queue[2]


OF_TRIGGERS = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
"""Lambda's own calls, with the rights of the one function that a queue triggers."""


def test_handlers_are_followed_to_the_services_that_they_begin_with():
    entries = entry_points(CODE)
    assert entries["Services.on_task_change"] == {"task_changed"}
    assert entries["JobLauncher.run"] == {"run_critical_jobs", "run_normal_jobs", "run_low_jobs"}
    assert entries["Schedules.fire"] == {"fire_schedules"}
