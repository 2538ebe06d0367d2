"""Every call of a function is checked against its own policy, and each statement is needed.

The flows run where each function has a process and an access key of its own. The cloud records for
each call the statements that allow it: one that alone allowed a call is one without which this call
is refused. The last test takes some away for real.
"""

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, finish, launch, wait_until
from tests.integration.grading.test_judging import forget_documents
from tests.integration.light_job import DESCRIPTION, Runs, make_light_job
from tests.integration.sessions import client_of, dispatch, kill_container, wait_for
from tests.rights import named_as_in_dev, record, recorded

LOGS = {"logs:CreateLogStream, logs:PutLogEvents"}
"""Rights of the runtime, which writes the function's log; the embedded Lambda uses a file."""

NO_ROLE = {"iam:PassRole"}
"""Jobs have no role here: there is no execution role, as images are no registry's."""

REPAIR = {
    "dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:BatchGetItem, "
    "dynamodb:Query",
    "ecs:DescribeTasks",
    "ecs:StopTask",
    "ecs:DescribeContainerInstances",
    "ec2:DescribeInstances, ec2:DescribeNetworkInterfaces",
    "scheduler:CreateSchedule, scheduler:UpdateSchedule",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl, sqs:SendMessage",
    "sqs:GetQueueUrl, sqs:SendMessage, sqs:GetQueueAttributes",
    "sqs:SendMessage",
}
JUDGE = {"ecs:RunTask of the judge"}
"""Any of the functions that launch jobs may be the one that launches it."""
"""After crashes, lost replies and events, and for what waits: not on the way of these flows.
`tests/unit/infra/test_policies.py` derives these calls from the source."""
PLANNER = {
    "ecs:ListContainerInstances",
    "ecs:UpdateContainerInstancesState",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:SetDesiredCapacity, autoscaling:TerminateInstanceInAutoScalingGroup",
}
"""Called where an Auto Scaling group is configured: tests/integration/test_hosts.py."""
PLUGINS = {"ecs:ListTasks", "ecs:ListContainerInstances"}
"""Called where a placement plug-in is configured: tests/integration/test_placement_plugins.py."""

MAY_BE_UNNEEDED = {
    "api_handler": LOGS
    | {"sts:AssumeRole, sts:TagSession"}  # tests/integration/test_user_credentials.py
    | {"ecs:DescribeTasks", "sqs:GetQueueAttributes"}
    | {"cloudwatch:DescribeAlarms"},  # a laptop has no alarms
    "sweep": LOGS | NO_ROLE | REPAIR | JUDGE | PLANNER,
    "task_changed": LOGS | REPAIR,
    "launch_queued": LOGS | REPAIR | PLUGINS,
    "run_critical_jobs": LOGS | NO_ROLE | REPAIR | JUDGE | PLUGINS,
    "run_normal_jobs": LOGS | NO_ROLE | REPAIR | JUDGE | PLUGINS,
    "run_low_jobs": LOGS | NO_ROLE | REPAIR | JUDGE | PLUGINS,
    "fire_schedules": LOGS | NO_ROLE | REPAIR,
}
"""By function: the actions of statements that these flows need not need."""


def statements_of(function: str) -> list[dict]:
    name = f"policy-dev-{function.replace('_', '-')}.json"
    return json.loads((ROOT / ".chalice" / name).read_text("utf-8"))["Statement"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    running = launch(
        tmp_path_factory.mktemp("runs"), functions="lambda", pool=1, feed_engine="direct"
    )
    yield running
    finish(running)


def sessions_flow(cloud) -> None:
    """Warm, cold, deleted, lost, waiting for a place; and a sweep over all of it."""
    with client_of(dispatch(cloud)):
        lost = dispatch(cloud, "?wait=25")
        with client_of(lost):
            wait_for(cloud, lost["id"], "ACTIVE")
            kill_container(lost["id"])
            wait_for(cloud, lost["id"], "ENDED")
            assert cloud.http("GET", f"/sessions/{lost['id']}/logs")[0] == 200
    status, waiting = cloud.http("POST", "/session?wait=0")
    assert status in {200, 202}
    cloud.http("DELETE", f"/sessions/{waiting['id']}")
    wait_for(cloud, waiting["id"], "ENDED")
    assert cloud.fire("sweep")["error"] is None


def job_end(cloud, invocation_id: str) -> dict:
    def ended():
        _, found = cloud.http("GET", f"/invocations/{invocation_id}")
        return found if found["finishedAt"] else None

    return wait_until(ended, 90, "the end of the invocation", every=0.2)


def messages(cloud) -> int:
    """Returns how many messages wait or are being processed, in all queues."""
    sqs = cloud.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    count = 0
    for url in sqs.list_queues()["QueueUrls"]:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        count += sum(int(found[name]) for name in names)
    return count


def jobs_flow(cloud, runs: Runs, folder: Path) -> None:
    """A job is deployed, run at each priority, killed, deferred, read, scheduled, deleted."""
    body = {"image": make_light_job(folder / "light"), "description": DESCRIPTION}
    assert cloud.http("PUT", "/jobs/light", body)[0] == 200
    parameters = {"port": runs.port, "seconds": 0.1}
    path = "/jobs/light/invocations"
    for priority in ("critical", "normal", "low"):
        # The message of the previous end makes its function launch all waiting invocations.
        wait_until(lambda: messages(cloud) == 0, 30, "all wake-up messages", every=0.1)
        status, made = cloud.http("POST", path, {"parameters": parameters, "priority": priority})
        assert status == 201, made
        assert job_end(cloud, made["id"])["reason"] == "succeeded"
    assert cloud.http("GET", f"/invocations/{made['id']}/logs")[0] == 200
    slow = {"parameters": {**parameters, "seconds": 60}}
    _, killed = cloud.http("POST", path, slow)
    wait_until(lambda: task_running(cloud, killed["id"]), 60, "its task", every=0.1)
    cloud.http("DELETE", f"/invocations/{killed['id']}")
    cloud.http("POST", f"/invocations/{killed['id']}/kill")
    job_end(cloud, killed["id"])
    at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    status, later = cloud.http("POST", path, {"parameters": parameters, "at": at})
    assert status == 201, later
    cloud.http("POST", f"/invocations/{later['id']}/kill")
    schedule = {"job": "light", "expression": "cron(0 0 1 1 ? *)", "parameters": parameters}
    status, told = cloud.http("PUT", "/schedules/yearly", schedule)
    assert status in {200, 201}, told
    assert cloud.http("POST", "/schedules/yearly/run", {})[0] in {200, 201, 202}
    assert cloud.http("GET", "/schedules")[0] == 200
    decide_since(cloud, "yearly", 1_600_000_000)  # too late: it is skipped
    wait_until(lambda: cloud.state()["invocations"].get("fire_schedules"), 60, "it", every=0.2)
    assert cloud.http("DELETE", "/schedules/yearly")[0] in {200, 204}
    schedule |= {"expression": "cron(* * * * ? *)"}
    assert cloud.http("PUT", "/schedules/minutely", schedule)[0] in {200, 201}
    decide_since(cloud, "minutely", int(time.time()) - 70)
    made = wait_until(lambda: run_of(cloud, "minutely"), 60, "its run", every=0.2)
    assert cloud.http("DELETE", "/schedules/minutely")[0] in {200, 204}
    assert job_end(cloud, made["id"])["reason"] == "succeeded"
    assert cloud.http("GET", "/invocations")[0] == 200
    assert cloud.http("GET", "/jobs")[0] == 200
    assert cloud.http("GET", "/sessions")[0] == 200
    assert cloud.http("GET", "/overview")[0] == 200
    _, hosts = cloud.http("GET", "/hosts")
    assert cloud.http("GET", "/placement?app=listings&more=3")[0] == 200
    assert cloud.http("GET", f"/hosts/{hosts['hosts'][0]['id']}")[0] == 200
    assert cloud.fire("sweep")["error"] is None
    assert cloud.http("DELETE", "/jobs/light")[0] in {200, 204}


def grading_flow(cloud) -> None:
    """An assignment put, handed in to, marked, listed and regraded; swept while it waits; read when
    the documents of its mark have expired.
    """
    body = {"files": {"grader.toml": GRADER, "1.in": "1", "1.ans": "1"}}
    assert cloud.http("PUT", "/assignments/copy", body)[0] == 201
    parts = {"copy": {"files": {"main.py": "print(input())"}}}
    status, made = cloud.http("POST", "/assignments/copy/submissions", {"parts": parts})
    assert status == 202, made
    assert cloud.fire("sweep")["error"] is None
    marked = wait_until(lambda: is_marked(cloud, made["id"]), 120, "the mark", every=0.3)
    assert cloud.http("GET", "/assignments")[0] == 200
    for query in ("", f"?learner={marked['learner']}"):
        assert cloud.http("GET", f"/assignments/copy/submissions{query}")[0] == 200
    forget_documents(cloud, marked["gradings"][0]["id"])
    assert is_marked(cloud, made["id"])
    assert cloud.http("POST", f"/submissions/{made['id']}/regrade")[0] == 202
    wait_until(lambda: is_marked(cloud, made["id"]), 120, "the next mark", every=0.3)


GRADER = """
files = ["main.py"]
run = ["python3", "main.py"]
[[cases]]
input = "1.in"
answer = "1.ans"
"""


def is_marked(cloud, submission_id: str) -> dict | None:
    status, found = cloud.http("GET", f"/submissions/{submission_id}")
    assert status == 200, found
    return found if found["state"] == "FINISHED" else None


def decide_since(cloud, schedule_id: str, decided_until: int) -> None:
    """Set the last decision of a schedule into the past, and invoke its function."""
    cloud.client("dynamodb").update_item(
        TableName="usher-local-jobs",
        Key={"id": {"S": f"schedule#{schedule_id}"}},
        UpdateExpression="SET decided_until = :at, changed_at = :at",
        ExpressionAttributeValues={":at": {"N": str(decided_until)}},
    )
    sqs = cloud.client("sqs")
    queue = sqs.get_queue_url(QueueName="usher-local-schedules")["QueueUrl"]
    due = {"schedule": schedule_id, "planned": "2026-01-01T00:00:00+00:00"}
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(due))


def run_of(cloud, schedule_id: str) -> dict | None:
    """The first run of a schedule, skipped ones included."""
    _, found = cloud.http("GET", "/invocations?job=light")
    runs = [one for one in found["invocations"] if one["schedule"] == schedule_id]
    return runs[-1] if runs else None


def task_running(cloud, invocation_id: str) -> bool:
    return any(
        task["lastStatus"] == "RUNNING" and invocation_id in task.get("startedBy", "")
        for task in cloud.tasks()
    )


@pytest.fixture(scope="module")
def rights(cloud, tmp_path_factory):
    """Returns the statements of the policies that the flows needed."""
    runs = Runs()
    try:
        sessions_flow(cloud)
        jobs_flow(cloud, runs, tmp_path_factory.mktemp("job"))
        grading_flow(cloud)
    finally:
        runs.close()
    found = cloud.state()["rights"]
    if os.environ.get("RECORD_RIGHTS"):
        record("flows", used(found))
    return found


def used(found: dict) -> dict[str, set[str]]:
    """By function, the rights that the flows used, named as in stage `dev`."""
    return {
        key.removeprefix("function-"): {named_as_in_dev(right, "local") for right in rights}
        for key, rights in found["used"].items()
        if key.startswith("function-")
    }


def test_the_api_used_each_right_that_is_recorded_of_these_flows(rights):
    """RECORD_RIGHTS=1 records them: tests/unit/infra/test_rights_by_resource.py needs no cloud."""
    assert used(rights)["api_handler"] == set(recorded()["flows"]["api_handler"])


def label(statement: dict) -> str:
    """Returns a statement's actions, and whether it is only for the judge."""
    of_judge = " of the judge" if str(statement["Resource"]).endswith("_judge:*") else ""
    return ", ".join(statement["Action"]) + of_judge


def test_some_function_runs_the_judge_by_the_right_on_its_cluster_alone(rights):
    running = [
        function
        for function in ("sweep", "run_critical_jobs", "run_normal_jobs", "run_low_jobs")
        for index in rights["needed"].get(f"function-{function}", ())
        if label(statements_of(function)[index]) in JUDGE
    ]
    assert running


def test_no_call_of_the_flows_is_refused(rights):
    assert rights["refused"] == {}


@pytest.mark.parametrize("function", MAY_BE_UNNEEDED)
def test_without_any_one_statement_some_call_is_refused(rights, function):
    needed = rights["needed"][f"function-{function}"]
    unneeded = {
        label(statement)
        for index, statement in enumerate(statements_of(function))
        if index not in needed
    }
    assert unneeded <= MAY_BE_UNNEEDED[function]
    assert len(needed) >= 3


@pytest.mark.parametrize("missing", ["ecs:RunTask", "iam:PassRole", "dynamodb:Query"])
def test_a_right_that_is_taken_away_is_missed(start_cloud, tmp_path, missing):
    project = project_without(tmp_path / "project", "api_handler", missing)
    cloud = start_cloud(functions="lambda", project_dir=project)
    status, told = cloud.http("POST", "/session?wait=1")
    assert status in {202, 503}, told
    refused = cloud.state()["rights"]["refused"]
    assert refused[f"function-api_handler {missing}"] >= 1
    assert "refused: " in "".join(cloud.errors)


def project_without(folder: Path, function: str, action: str) -> Path:
    """Returns a copy of this project with a policy without the statements of an action."""
    (folder / ".chalice").mkdir(parents=True)
    for name in ("app.py", "chalicelib", "infra"):
        (folder / name).symlink_to(ROOT / name)
    for path in (ROOT / ".chalice").glob("*.json"):
        shutil.copy(path, folder / ".chalice")
    policy = folder / ".chalice" / f"policy-dev-{function.replace('_', '-')}.json"
    document = json.loads(policy.read_text("utf-8"))
    kept = [one for one in document["Statement"] if action not in one["Action"]]
    assert len(kept) < len(document["Statement"])
    policy.write_text(json.dumps({**document, "Statement": kept}), "utf-8")
    return folder
