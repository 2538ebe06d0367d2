"""Schedules on the real local cloud: fired by its clock, run by its tasks, read in its logs."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.integration.conftest import ROOT, RunningCloud, finish, launch, wait_until

PROGRAM = '''
import time
from pydantic import BaseModel
from usher import Job

class Wait(BaseModel):
    seconds: float = 0

class Ticker(Job):
    """Says something and waits."""
    memory = 64
    cpu = 64
    Parameters = Wait

    def run(self, parameters):
        print("told to wait for", parameters.seconds)
        time.sleep(parameters.seconds)
        return "done"
'''


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    running = launch(tmp_path_factory.mktemp("runs"), pool=0)
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "usher" / "Dockerfile", folder)
    (folder / "requirements.txt").write_text("")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "ticker.py").write_text(PROGRAM)
    description = {
        "version": 1,
        "name": "ticker",
        "summary": "Says something and waits.",
        "cpu": 64,
        "memory": 64,
        "timeoutSeconds": 60,
        "priority": "normal",
        "queueSeconds": 600,
        "environment": {},
        "launchType": None,
        "parameters": {
            "type": "object",
            "properties": {"seconds": {"type": "number"}},
            "additionalProperties": False,
        },
    }
    deployed = {"image": f"dir:{folder}", "description": description}
    status, body = running.http("PUT", "/jobs/ticker", deployed)
    assert status == 200, body
    yield running
    finish(running)


def put(cloud: RunningCloud, schedule_id: str, **settings: object) -> dict:
    body = {"job": "ticker", "expression": "cron(0 0 1 1 ? *)", "parameters": {}} | settings
    status, answer = cloud.http("PUT", f"/schedules/{schedule_id}", body)
    assert status in {200, 201}, answer
    return answer


def invocations(cloud: RunningCloud, schedule_id: str) -> list[dict]:
    status, answer = cloud.http("GET", "/invocations?job=ticker&limit=100")
    assert status == 200, answer
    return [found for found in answer["invocations"] if found["schedule"] == schedule_id]


def ended(cloud: RunningCloud, invocation_id: str) -> dict:
    def now() -> dict | None:
        _, found = cloud.http("GET", f"/invocations/{invocation_id}")
        return found if found["state"] in {"FINISHED", "EXPIRED", "SKIPPED"} else None

    return wait_until(now, 60, "the end of the invocation", every=0.1)


def record(cloud: RunningCloud, schedule_id: str) -> dict:
    key = {"id": {"S": f"schedule#{schedule_id}"}}
    return cloud.client("dynamodb").get_item(TableName="usher-local-jobs", Key=key)["Item"]


def set_back(cloud: RunningCloud, schedule_id: str, seconds: float, **more: dict) -> float:
    """Set the schedule's last decision this many seconds into the past, as after a crash."""
    at = time.time() - seconds
    changes = {"decided_until": {"N": str(at)}, "changed_at": {"N": str(at)}} | more
    key = {"id": {"S": f"schedule#{schedule_id}"}}
    cloud.client("dynamodb").update_item(
        TableName="usher-local-jobs",
        Key=key,
        UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in changes),
        ExpressionAttributeValues={f":{name}": value for name, value in changes.items()},
    )
    return at


def is_armed_for(cloud: RunningCloud, schedule_id: str, instant: float) -> bool:
    """Whether the record has this time as its next invocation."""
    found = cloud.client("dynamodb").get_item(
        TableName="usher-local-jobs",
        Key={"id": {"S": f"schedule#{schedule_id}"}},
        ConsistentRead=True,
    )
    return float(found["Item"]["armed_for"]["N"]) == instant


def test_a_schedule_is_made_shown_changed_and_taken_away(cloud: RunningCloud) -> None:
    made = put(cloud, "weekly", expression="0 0 9 ? * MON", timezone="Europe/Berlin")
    assert made["expression"] == "cron(0 9 ? * MON *)"
    assert len(made["nextRuns"]) == 10
    scheduler = cloud.client("scheduler")
    armed = scheduler.get_schedule(Name="schedule-weekly", GroupName="usher-local")
    first = datetime.fromisoformat(made["nextRuns"][0])
    assert armed["ScheduleExpression"] == f"at({first:%Y-%m-%dT%H:%M:%S})"
    changed = put(cloud, "weekly", expression="rate(2 days)", overlap="allow")
    again = scheduler.get_schedule(Name="schedule-weekly", GroupName="usher-local")
    assert again["ScheduleExpression"] != armed["ScheduleExpression"]
    wait_until(lambda: changed in cloud.http("GET", "/schedules")[1]["schedules"])
    _, paused = cloud.http("POST", "/schedules/weekly/pause")
    assert paused["paused"] is True
    _, resumed = cloud.http("POST", "/schedules/weekly/resume")
    assert resumed["paused"] is False
    assert cloud.http("DELETE", "/schedules/weekly")[0] == 200
    assert cloud.http("GET", "/schedules/weekly")[0] == 404
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="schedule-weekly", GroupName="usher-local")


@pytest.mark.parametrize(
    "change",
    [{"job": "nothing"}, {"parameters": {"other": 1}}, {"expression": "x"}, {"timezone": "x"}],
)
def test_what_the_job_would_not_take_is_no_schedule(cloud: RunningCloud, change: dict) -> None:
    body = {"job": "ticker", "expression": "rate(1 day)", "parameters": {}} | change
    status, answer = cloud.http("PUT", "/schedules/bad", body)
    assert status == 400, answer
    assert cloud.http("GET", "/schedules/bad")[0] == 404


def test_a_run_now_is_a_run_with_lines_to_read(cloud: RunningCloud) -> None:
    put(cloud, "manual", parameters={"seconds": 0})
    key = {"Idempotency-Key": "once"}
    status, run = cloud.http("POST", "/schedules/manual/run", headers=key)
    assert status == 201, run
    assert cloud.http("POST", "/schedules/manual/run", headers=key)[1]["id"] == run["id"]
    done = ended(cloud, run["id"])
    assert (done["reason"], done["schedule"], done["plannedAt"]) == ("succeeded", "manual", None)

    def all_lines() -> list[str] | None:
        lines, token = [], ""
        while True:
            _, page = cloud.http("GET", f"/invocations/{run['id']}/logs?limit=2{token}")
            lines += [line["text"] for line in page["lines"]]
            token = f"&next={page['next']}"
            if page["ended"]:
                return lines
            if not page["lines"]:
                return None

    lines = wait_until(all_lines, 15, "the last line", every=0.2)
    assert lines[0].startswith(f"usher: job=ticker invocation={run['id']} attempt=1")
    assert "told to wait for 0.0" in lines
    assert lines[-1].startswith("usher: finished outcome=succeeded")


def test_a_schedule_fires_by_itself_when_its_time_comes(cloud: RunningCloud) -> None:
    put(cloud, "soon", expression="rate(1 minute)")
    # Its time is a minute away: set its creation 57 seconds back.
    start = int(time.time()) - 57
    set_back(cloud, "soon", 57, counts_from={"N": str(start)}, armed_for={"N": "0"})
    # The sweep finds that it is not armed for its next time, once the index shows it.
    wait_until(lambda: cloud.fire("sweep") and is_armed_for(cloud, "soon", start + 60), 20)
    (run,) = wait_until(lambda: invocations(cloud, "soon"), 20, "the run", every=0.1)
    assert datetime.fromisoformat(run["plannedAt"]).timestamp() == start + 60
    cloud.http("DELETE", "/schedules/soon")
    assert ended(cloud, run["id"])["reason"] == "succeeded"
    created = datetime.fromisoformat(run["createdAt"]).timestamp()
    assert start + 60 <= created < start + 65


def test_two_schedulers_at_once_make_one_run(cloud: RunningCloud) -> None:
    put(cloud, "twice", expression="rate(1 hour)")
    planned = int(time.time()) - 30
    set_back(cloud, "twice", 60, counts_from={"N": str(planned - 3600)})
    message = {"schedule": "twice", "planned": datetime.fromtimestamp(planned, UTC).isoformat()}
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="usher-local-schedules")["QueueUrl"]

    def wake_up() -> None:
        for _ in range(3):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))

    threads = [threading.Thread(target=wake_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: invocations(cloud, "twice"), 20, "a run", every=0.1)

    def is_quiet() -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return all(int(value) == 0 for value in told.values())

    wait_until(is_quiet, 20, "the queue being empty", every=0.1)
    (run,) = invocations(cloud, "twice")
    assert record(cloud, "twice")["last_invocation"]["S"] == run["id"]
    assert "pending" not in record(cloud, "twice")


def test_what_a_crash_left_undone_is_done_by_the_sweep(cloud: RunningCloud) -> None:
    put(cloud, "undone", expression="rate(1 hour)")
    planned = int(time.time()) - 60
    decision = {
        "M": {
            "run_at": {"N": str(planned)},
            "skipped": {
                "L": [{"M": {"planned_at": {"N": str(planned - 3600)}, "why": {"S": "x"}}}]
            },
            "decided_until": {"N": str(planned)},
        }
    }
    set_back(cloud, "undone", 60, pending=decision)
    cloud.fire("sweep")
    found = {run["state"] == "SKIPPED" for run in swept(cloud, "undone", 2)}
    assert found == {True, False}
    assert "pending" not in record(cloud, "undone")


def test_a_schedule_that_nobody_fired_is_fired_by_the_sweep_and_overlap_is_kept(
    cloud: RunningCloud,
) -> None:
    put(cloud, "late", expression="rate(1 hour)", parameters={"seconds": 30}, overlap="skip")
    start = int(time.time()) - 3600 - 100
    set_back(cloud, "late", 3700, counts_from={"N": str(start)})
    (first,) = swept(cloud, "late", 1)
    assert first["state"] != "SKIPPED"
    set_back(cloud, "late", 3700, counts_from={"N": str(start + 1)})
    states = {run["id"]: run["state"] for run in swept(cloud, "late", 2)}
    assert [state for run, state in states.items() if run != first["id"]] == ["SKIPPED"]
    put(cloud, "late", expression="rate(1 hour)", parameters={"seconds": 30}, overlap="replace")
    set_back(cloud, "late", 3700, counts_from={"N": str(start + 2)})
    runs = swept(cloud, "late", 3)
    assert ended(cloud, first["id"])["reason"] == "killed"
    for run in runs:
        cloud.http("POST", f"/invocations/{run['id']}/kill")


def swept(cloud: RunningCloud, schedule: str, number: int) -> list[dict]:
    """Returns the schedule's runs once sweeps and lists see this many: indexes lag."""

    def now() -> list[dict]:
        assert cloud.fire("sweep")["error"] is None
        return found if len(found := invocations(cloud, schedule)) >= number else []

    found = wait_until(now, 20, f"run {number}", every=0.3)
    assert len(found) == number
    return list(found)


def at(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


def test_a_deferred_invocation_runs_when_its_time_comes(cloud: RunningCloud) -> None:
    path, body = "/jobs/ticker/invocations", {"parameters": {}}
    status, soon = cloud.http("POST", path, body | {"at": at(2)})
    assert (status, soon["state"]) == (201, "SCHEDULED")
    status, far = cloud.http("POST", path, body | {"at": at(7200)})
    assert status == 201
    listed = cloud.client("scheduler").list_schedules(GroupName="usher-local")["Schedules"]
    assert [s for s in listed if s["Target"]["Arn"].endswith(":usher-local-jobs-normal")]
    cloud.http("POST", f"/invocations/{far['id']}/kill")
    done = ended(cloud, soon["id"])
    assert done["reason"] == "succeeded"
    assert done["startedAt"] >= done["at"]


def test_a_draining_host_keeps_its_job_and_gets_no_other(cloud: RunningCloud) -> None:
    ecs, path = cloud.client("ecs"), "/jobs/ticker/invocations"

    def started(run: dict) -> dict:
        def task() -> dict | None:
            tasks = cloud.tasks(stopped=True)  # a short one may have ended while others start
            found = [t for t in tasks if t.get("startedBy", "").startswith(mark)]
            return found[0] if found and found[0]["lastStatus"] in {"RUNNING", "STOPPED"} else None

        mark = f"job/{run['id']}/"
        return wait_until(task, 20, "the task of the invocation", every=0.05)

    def set_status(host: str, status: str) -> None:
        ecs.update_container_instances_state(
            cluster="usher-local", containerInstances=[host], status=status
        )

    _, first = cloud.http("POST", path, {"parameters": {"seconds": 2}})
    host = started(first)["containerInstanceArn"]
    set_status(host, "DRAINING")
    others = [cloud.http("POST", path, {"parameters": {"seconds": 1}})[1] for _ in range(3)]
    assert host not in {started(other)["containerInstanceArn"] for other in others}
    assert ended(cloud, first["id"])["reason"] == "succeeded"
    set_status(host, "ACTIVE")


def test_a_one_time_schedule_of_the_local_cloud_fires_and_is_gone(cloud: RunningCloud) -> None:
    sqs, scheduler = cloud.client("sqs"), cloud.client("scheduler")
    url = sqs.create_queue(QueueName="clockwork")["QueueUrl"]
    names = ["QueueArn"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]["QueueArn"]
    due = datetime.fromtimestamp(int(time.time()) + 2, UTC)
    scheduler.create_schedule(
        Name="once",
        GroupName="usher-local",
        ScheduleExpression=f"at({due.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone="Asia/Tokyo",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": arn,
            "RoleArn": "arn:aws:iam::123456789012:role/usher-local-scheduler",
            "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
        },
    )
    told = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=10, MessageSystemAttributeNames=["SentTimestamp"]
    )
    (message,) = told["Messages"]
    assert message["Body"] == f'{{"at": "{due:%Y-%m-%dT%H:%M:%SZ}"}}'
    assert int(message["Attributes"]["SentTimestamp"]) / 1000 >= due.timestamp()
    listed = scheduler.list_schedules(GroupName="usher-local", NamePrefix="once")
    assert listed["Schedules"] == []
