"""Log lines about jobs have fields for the run, job, revision and owner."""

import json
import logging

from chalicelib.jobs.model import Invocation, Priority
from chalicelib.logs import FIELDS, JsonFormatter

RUN = Invocation(
    id="5e1f",
    job="tally",
    owner="api_key:ann",
    key="the-key",
    priority=Priority.NORMAL,
    created_at=1.0,
    not_after=2.0,
    parameters={"password": "hunter2"},
    task_definition="arn:aws:ecs:eu-west-1:000000000000:task-definition/usher-dev-job-tally:7",
    task_arn="arn:task",
)


def line_of(fields: dict[str, object]) -> dict[str, str]:
    record = logging.makeLogRecord({"name": "usher.jobs", "msg": "moved", **fields})
    return json.loads(JsonFormatter().format(record))


def test_every_field_of_a_run_gets_into_the_line():
    line = line_of(RUN.log_fields)
    assert set(RUN.log_fields) <= set(FIELDS)
    assert (line["invocation"], line["job"], line["owner"]) == ("5e1f", "tally", "api_key:ann")
    assert line["revision"].endswith("/usher-dev-job-tally:7")
    assert (line["attempt"], line["task"]) == ("1", "arn:task")


def test_neither_keys_nor_parameters_do():
    assert not {"the-key", "hunter2"} & set(json.dumps(line_of(RUN.log_fields)).split('"'))


def test_a_line_of_garbage_is_one_line_of_json():
    line = line_of({"job": "a\n\ud800\0b", "owner": None})
    assert line["job"] == "a\n\ud800\0b"
    assert "owner" not in line
