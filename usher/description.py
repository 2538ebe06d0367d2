"""A job's description in JSON: what the dispatcher needs to run it.

`usher deploy` registers it, and the dispatcher validates parameters with it.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from chalicelib.contract.jobs import JOB_BOUNDS, JOB_NAME, JOB_NAME_RULE, LAUNCH_TYPES
from chalicelib.contract.secrets import problems_of
from usher.errors import DescriptionError
from usher.job import Job, name_of

VERSION = 1
PRIORITIES = ("critical", "normal", "low")
MAX_SUMMARY_CHARACTERS = 200


def describe(job: type[Job]) -> dict[str, Any]:
    """The description of a job class. Raises DescriptionError."""
    some: dict[str, Any] = {
        "secrets": _secrets(job),
        "group": _group(job),
        "placement": _placement(job),
    }
    some |= {
        "taskRole": _role(job),
        "subnets": _ids(job, "subnets"),
        "securityGroups": _ids(job, "security_groups"),
    }
    return {key: value for key, value in some.items() if value} | {
        "version": VERSION,
        "name": _name(job),
        "summary": _summary(job),
        "cpu": _number(job, "cpu"),
        "memory": _number(job, "memory"),
        "timeoutSeconds": _number(job, "timeout_seconds"),
        "priority": _one_of(job, "priority", PRIORITIES),
        "queueSeconds": _number(job, "queue_seconds"),
        "environment": _environment(job),
        "launchType": _one_of(job, "launch_type", (None, *LAUNCH_TYPES)),
        "parameters": _schema(job),
    }


def _placement(job: type[Job]) -> dict[str, Any]:
    """Its placement in JSON. The dispatcher checks ECS's expressions."""
    if not isinstance(job.placement, Mapping):
        raise _wrong(job, "placement", f"must be a mapping, not {job.placement!r}")
    names = {"anti_affinity": "antiAffinity"}
    return {
        names.get(key, key): list(value) if isinstance(value, tuple) else value
        for key, value in job.placement.items()
    }


def _wrong(job: type[Job], field: str, what: str) -> DescriptionError:
    return DescriptionError(f"{job.__module__}.{job.__qualname__}.{field} {what}")


def _name(job: type[Job]) -> str:
    name = name_of(job)
    if not JOB_NAME.fullmatch(name):
        raise DescriptionError(
            f"{job.__module__}.{job.__qualname__}: its name would be {name!r}; a job's name "
            f"has {JOB_NAME_RULE}"
        )
    return name


def _summary(job: type[Job]) -> str:
    # Not inherited: the base class's docstring does not describe this job.
    text = inspect.cleandoc(vars(job).get("__doc__") or "")
    return text.partition("\n")[0][:MAX_SUMMARY_CHARACTERS]


def _group(job: type[Job]) -> str | None:
    group = job.group
    if not isinstance(group, str | None):
        raise _wrong(job, "group", "has to be the name of a capacity group, or None")
    return group


def _role(job: type[Job]) -> str | None:
    if not isinstance(job.task_role, str | None):
        raise _wrong(job, "task_role", "has to be the name of a role, or None")
    return job.task_role


def _ids(job: type[Job], field: str) -> list[str]:
    """Ids of its network. The dispatcher checks the rest: it knows AWS's bounds."""
    value = getattr(job, field)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(job, field, f"must be a list of ids, not {value!r}")
    return [str(one) for one in value]


def _number(job: type[Job], field: str) -> int:
    value = getattr(job, field)
    least, most = JOB_BOUNDS[field]
    if type(value) is not int or not least <= value <= most:
        raise _wrong(job, field, f"must be a whole number from {least} to {most}, not {value!r}")
    return value


def _one_of(job: type[Job], field: str, choices: tuple[str | None, ...]) -> str | None:
    value = getattr(job, field)
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise _wrong(job, field, f"must be one of {allowed}, not {value!r}")
    return None if value is None else str(value)


def _environment(job: type[Job]) -> dict[str, str]:
    value = job.environment
    if not isinstance(value, Mapping):
        raise _wrong(job, "environment", f"must map names to strings, not be {value!r}")
    for name, text in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise _wrong(job, "environment", f"has {name!r}, which is no name of a variable")
        if not isinstance(text, str):
            raise _wrong(job, "environment", f"has {name} = {text!r}, which is no string")
    return dict(value)


def _secrets(job: type[Job]) -> dict[str, str]:
    if not isinstance(job.secrets, Mapping):
        raise _wrong(job, "secrets", f"must map names to references, not be {job.secrets!r}")
    secrets = dict(job.secrets)
    problems = problems_of(secrets, dict(_environment(job)))
    if problems:
        raise _wrong(job, "secrets", f"is wrong: {'; '.join(problems)}")
    return secrets


def _schema(job: type[Job]) -> dict[str, Any] | None:
    model = job.Parameters
    if model is None:
        return None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise _wrong(job, "Parameters", "must be a pydantic BaseModel, or None")
    try:
        schema = model.model_json_schema()
        json.dumps(schema, allow_nan=False)
    except (PydanticUserError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise _wrong(job, "Parameters", f"has no JSON schema: {reason}") from error
    return schema
