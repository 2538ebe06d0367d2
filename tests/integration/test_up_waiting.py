"""`local up` where hosts come late or never, and where ECS refuses requests."""

import pytest
from botocore.exceptions import ClientError

from tests.integration.conftest import wait_until
from tests.integration.sessions import client_of, look, task_of, wait_for

APPS = """
default = "chat"

[apps.chat]
image = "usher-session"
cpu = 256
memory = 256
queue_seconds = {queue_seconds}
"""


def apps_file(folder, queue_seconds):
    path = folder / "apps.toml"
    path.write_text(APPS.format(queue_seconds=queue_seconds))
    return path


@pytest.mark.parametrize("provider", [None, "hosts"], ids=["launch type", "capacity provider"])
def test_who_waits_for_a_host_is_queued_until_the_deadline_and_no_failed_start(
    start_cloud, tmp_path, provider
):
    cloud = start_cloud(
        start_delay=900, apps=apps_file(tmp_path, queue_seconds=8), capacity_provider=provider
    )
    asked = [cloud.http("GET", "/session?wait=0") for _ in range(6)]
    assert {status for status, _ in asked} == {202}
    ids = [body["id"] for _, body in asked]
    shown = [look(cloud, session_id) for session_id in ids]
    assert {body["state"] for body in shown} == {"QUEUED"}
    assert all(body["position"] >= 1 for body in shown)
    assert {task["lastStatus"] for task in cloud.tasks()} == {"PROVISIONING"}
    ended = [wait_for(cloud, session_id, "ENDED", seconds=60) for session_id in ids]
    assert {body["reason"] for body in ended} == {"queue_timeout"}
    wait_until(lambda: cloud.tasks() == [], what="every task being stopped")
    status, body = cloud.http("GET", "/session?wait=0")
    assert (status, body["state"]) == (202, "QUEUED"), "the breaker is closed"


def test_on_a_full_cluster_the_next_one_waits_for_the_first_to_end(start_cloud, tmp_path):
    cloud = start_cloud(
        hosts=1,
        host_cpu=256,
        capacity_provider="hosts",
        start_delay=0.2,
        apps=apps_file(tmp_path, queue_seconds=120),
    )
    status, first = cloud.http("GET", "/session?wait=25")
    assert status == 200
    with client_of(first):
        status, second = cloud.http("GET", "/session?wait=0")
        assert (status, second["state"]) == (202, "QUEUED")
        assert look(cloud, second["id"])["position"] == 1
        assert task_of(cloud, second["id"])["lastStatus"] == "PROVISIONING"
        assert "containerInstanceArn" not in task_of(cloud, second["id"])
    following = wait_for(cloud, second["id"], "RESERVED")
    with client_of(following) as (_, hello):
        assert hello["session"] == second["id"]


def test_hosts_of_a_group_come_for_who_waits_and_one_that_dies_is_replaced(start_cloud, tmp_path):
    cloud = start_cloud(
        hosts=1,
        zones=2,
        host_cpu=256,
        auto_scaling="1:3",
        host_delay=0.5,
        apps=apps_file(tmp_path, queue_seconds=120),
    )
    _, first = cloud.http("GET", "/session?wait=25")
    with client_of(first):
        _, second = cloud.http("GET", "/session?wait=0")
        wait_until(
            lambda: task_of(cloud, second["id"])["lastStatus"] == "PROVISIONING",
            what="the second one waiting for a host",
        )
        assert cloud.fire("sweep")["error"] is None  # the host planner adds one
        with client_of(wait_for(cloud, second["id"], "RESERVED")):
            before = cloud.state()["autoScaling"]
            assert before["desired"] >= 2
            assert {text[-1] for text in before["instances"].values()} == {"a", "b"}
            cloud.control("POST", "hosts/host-2/kill")
            ended = wait_for(cloud, second["id"], "ENDED", seconds=60)
            assert ended["reason"] == "lost"

            def is_replaced():
                group = cloud.state()["autoScaling"]
                states = [text.split()[0] for text in group["instances"].values()]
                return states == ["InService"] * before["desired"]

            wait_until(is_replaced, what="another host")
    assert "refused" not in cloud.state()["rights"] or not cloud.state()["rights"]["refused"]
    out = cloud.control("PUT", "auto-scaling", {"zonesOut": ["us-east-1b"]})
    wait_until(
        lambda: all(
            text.endswith("a") for text in cloud.state()["autoScaling"]["instances"].values()
        ),
        what="all hosts being in the other zone",
    )
    assert out["zonesOut"] == ["us-east-1b"]


def test_a_capacity_provider_that_does_not_exist_is_refused(start_cloud, tmp_path):
    cloud = start_cloud(
        apps=apps_file(tmp_path, queue_seconds=60), environment={"CAPACITY_PROVIDER": "nobody"}
    )
    with pytest.raises(ClientError) as refused:
        cloud.client("ecs").run_task(
            cluster="usher-local",
            taskDefinition="usher-local-chat",
            capacityProviderStrategy=[{"capacityProvider": "nobody", "weight": 1}],
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    words = refused.value.response["Error"]["Message"]
    assert "not associated with the cluster" in words
    status, body = cloud.http("GET", "/session?wait=20")
    assert (status, body["error"]["code"]) == (400, "impossible_task")
    assert words in body["error"]["message"]
