"""The dispatcher's HTTP API where each function has processes of its own, frozen between calls.

The tests are those of `test_dispatcher`, on another cloud: code that depends on one warm process
(wake-ups of waiting requests, caches, threads after the answer, idle connections) fails here.
"""

from itertools import chain

import pytest

from tests.integration import test_dispatcher
from tests.integration.conftest import finish, launch, wait_until
from tests.integration.sessions import client_of, dispatch, no_tasks, wait_for

test_one_get_gives_one_container_that_ends_with_its_client = (
    test_dispatcher.test_one_get_gives_one_container_that_ends_with_its_client
)
test_two_users_get_two_containers = test_dispatcher.test_two_users_get_two_containers
test_what_is_not_ready_in_time_is_accepted_and_found_again = (
    test_dispatcher.test_what_is_not_ready_in_time_is_accepted_and_found_again
)
test_a_202_says_where_and_when_to_look = test_dispatcher.test_a_202_says_where_and_when_to_look
test_the_same_key_gets_the_same_session_while_it_lives = (
    test_dispatcher.test_the_same_key_gets_the_same_session_while_it_lives
)
test_deleting_stops_the_container_and_twice_is_as_good_as_once = (
    test_dispatcher.test_deleting_stops_the_container_and_twice_is_as_good_as_once
)
test_bad_input_gets_the_documented_error = test_dispatcher.test_bad_input_gets_the_documented_error
test_a_container_is_believed_only_with_its_own_key = (
    test_dispatcher.test_a_container_is_believed_only_with_its_own_key
)
test_a_preflight_allows_the_key_header = test_dispatcher.test_a_preflight_allows_the_key_header
test_without_room_a_request_waits_and_gets_its_container_when_there_is_some = (
    test_dispatcher.test_without_room_a_request_waits_and_gets_its_container_when_there_is_some
)
test_the_dispatcher_killed_in_the_middle_loses_nothing = (
    test_dispatcher.test_the_dispatcher_killed_in_the_middle_loses_nothing
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    running = launch(tmp_path_factory.mktemp("runs"), functions="lambda")
    yield running
    finish(running)


@pytest.fixture
def start_cloud(tmp_path):
    started = []

    def start(**options):
        started.append(launch(tmp_path, functions="lambda", **options))
        return started[-1]

    yield start
    for running in started:
        finish(running)


def test_a_warm_pool_is_filled_and_refilled_by_functions_that_share_no_memory(start_cloud):
    cloud = start_cloud(pool=2)
    first, second = dispatch(cloud), dispatch(cloud)
    assert first["warm"]
    with client_of(first) as (_, hello):
        assert hello["session"] == first["id"]
        wait_for(cloud, first["id"], "ACTIVE")
        wait_until(lambda: len(cloud.tasks()) >= 4, 30, "two more warm ones")
    cloud.http("DELETE", f"/sessions/{second['id']}")
    assert wait_for(cloud, first["id"], "ENDED")["reason"] == "disconnected"
    assert wait_for(cloud, second["id"], "ENDED")["reason"] == "stopped"
    wait_until(lambda: len(cloud.tasks()) == 2, 30, "the pool's two")


def test_a_sweep_after_functions_were_killed_in_the_middle_leaves_no_orphan(start_cloud):
    cloud = start_cloud()
    status, session = cloud.http("GET", "/session?wait=0")
    assert status == 202
    cloud.control("POST", "dispatcher/kill")
    wait_until(lambda: cloud.fire("sweep")["error"] is None, 30, "a sweep")
    assert wait_for(cloud, session["id"], "RESERVED")["url"]
    cloud.http("DELETE", f"/sessions/{session['id']}")
    no_tasks(cloud)


def test_a_page_of_large_schedules_ends_before_lambda_refuses_it(cloud):
    """A hundred rows with the largest parameters would be 7 MB; Lambda answers 6 MiB."""
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    job = {"image": "any", "description": {"name": "tally", "parameters": schema}}
    assert cloud.http("PUT", "/jobs/tally", job)[0] == 200
    parameters = {"text": "\x01" * 10_900}
    schedule = {"job": "tally", "expression": "rate(7 days)", "parameters": parameters}
    status, made = cloud.http("PUT", "/schedules/s100", schedule)
    assert status in {200, 201}, made
    dynamodb, table = cloud.client("dynamodb"), "usher-local-jobs"
    item = dynamodb.get_item(TableName=table, Key={"id": {"S": "schedule#s100"}})["Item"]
    for number in range(101, 200):
        dynamodb.put_item(TableName=table, Item=item | {"id": {"S": f"schedule#s{number}"}})

    def all_pages():
        pages, after = [], ""
        while after is not None:
            status, page = cloud.http("GET", f"/schedules?limit=100{after and '&next=' + after}")
            assert status == 200, page
            pages.append([one["id"] for one in page["schedules"]])
            after = page["next"]
        return pages if sum(map(len, pages)) >= 100 else None

    pages = wait_until(all_pages, 30, "the index to show all")
    assert len(pages) > 1
    assert [*chain(*pages)] == [f"s{number}" for number in range(100, 200)]
