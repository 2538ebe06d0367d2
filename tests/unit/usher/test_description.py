import json
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from chalicelib.jobs.description import parse_description
from chalicelib.jobs.schemas import check_parameters
from usher.description import describe
from usher.errors import DescriptionError
from usher.job import Job


class Report(Job):
    """Says much.

    And more.
    """

    cpu = 512
    memory = 300
    priority = "low"
    environment: ClassVar = {"LEVEL": "high"}

    class Parameters(BaseModel):
        weeks: int = Field(default=4, ge=1)

    def run(self, parameters: Any) -> None:
        pass


def test_a_description_has_all_that_the_dispatcher_needs():
    told = describe(Report)
    schema = told.pop("parameters")
    assert told == {
        "version": 1,
        "name": "report",
        "summary": "Says much.",
        "cpu": 512,
        "memory": 300,
        "timeoutSeconds": 900,
        "priority": "low",
        "queueSeconds": 86_400,
        "environment": {"LEVEL": "high"},
        "launchType": None,
    }
    assert schema["properties"]["weeks"] == {
        "default": 4,
        "minimum": 1,
        "title": "Weeks",
        "type": "integer",
    }


def test_the_dispatcher_understands_it_as_it_is_meant():
    told = describe(Report)
    assert parse_description(json.loads(json.dumps(told))).to_json() == told


def test_a_job_whose_parameters_all_have_defaults_may_be_asked_for_without_any():
    check_parameters(describe(Report)["parameters"], None)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("cpu", 8, "cpu must be a whole number from 16 to 16384, not 8"),
        ("cpu", 0.5, "cpu must be a whole number"),
        ("memory", True, "memory must be a whole number"),
        ("memory", "1 GB", "memory must be a whole number"),
        ("timeout_seconds", 0, "timeout_seconds must be a whole number from 1 to 604800"),
        ("queue_seconds", 10**9, "queue_seconds must be a whole number"),
        ("priority", "urgent", "priority must be one of 'critical', 'normal', 'low'"),
        ("launch_type", "LAMBDA", "launch_type must be one of None, 'EC2', 'FARGATE'"),
        ("group", 3, "group has to be the name of a capacity group, or None"),
        ("environment", ["A=1"], "environment must map names to strings"),
        ("environment", {"A": 1}, "environment has A = 1, which is no string"),
        ("environment", {"A-B": "1"}, "environment has 'A-B', which is no name"),
        ("Parameters", dict, "Parameters must be a pydantic BaseModel"),
    ],
)
def test_what_a_class_says_wrongly_is_told_with_class_and_field(field, value, says):
    job = type("Wrong", (Report,), {field: value, "__module__": "jobs.wrong"})
    with pytest.raises(DescriptionError) as caught:
        describe(job)
    assert str(caught.value).startswith("jobs.wrong.Wrong.")
    assert says in str(caught.value)


def test_a_schema_that_json_cannot_say_is_told():
    class Odd:
        pass

    class Parameters(BaseModel, arbitrary_types_allowed=True):
        odd: Odd

    job = type("Wrong", (Report,), {"Parameters": Parameters})
    with pytest.raises(DescriptionError, match="Parameters has no JSON schema"):
        describe(job)


@pytest.mark.parametrize("name", ["_Hidden", "Größe", "A" * 41])
def test_a_class_whose_name_makes_no_job_name_is_told(name):
    with pytest.raises(DescriptionError, match="its name would be"):
        describe(type(name, (Report,), {}))


def test_a_subclass_has_a_summary_of_its_own():
    assert describe(type("Other", (Report,), {}))["summary"] == ""
