"""The description of a job's revision: parse, check and serialize it. Pure.

The developer's tool derives it from the job's class. It is registered as a label of the task
definition, so that a revision always has its description.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib import task_identity
from chalicelib.contract.jobs import (
    DEFAULT_CPU,
    DEFAULT_MEMORY,
    DEFAULT_QUEUE_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    JOB_BOUNDS,
    JOB_NAME,
    JOB_NAME_RULE,
    LAUNCH_TYPES,
)
from chalicelib.contract.secrets import problems_of
from chalicelib.contract.text import can_be_passed, is_variable
from chalicelib.errors import BadRequestError
from chalicelib.jobs.model import Priority
from chalicelib.task_placement import (
    Placement,
    from_json,
    parse_placement,
    problems_of_placement,
)

MAX_SCHEMA_BYTES = 16_384
RUNS_CODE = re.compile(
    r"(PYTHON|LD_|DYLD_|NODE_|NPM_CONFIG_|PERL|RUBY|BUNDLE_|LUA_|JAVA_|JDK_|_JAVA_|CLASSPATH|DOTNET_|"
    r"CORECLR_|PHP|GIT_|GCONV_|GLIBC_|OPENSSL_|BASH_|SHELLOPTS|PROMPT_COMMAND|IFS|PS4)\w*"
    r"|ENV|PATH|BROWSER|EDITOR|VISUAL|PAGER|SHELL",
    re.IGNORECASE,
)
"""Variables that make an interpreter, a shell or the loader run other code than the image's. An
image may set them itself, because its author decides what it runs."""

_BOUNDS = {
    "cpu": JOB_BOUNDS["cpu"],
    "memory": JOB_BOUNDS["memory"],
    "timeoutSeconds": JOB_BOUNDS["timeout_seconds"],
    "queueSeconds": JOB_BOUNDS["queue_seconds"],
}
_DEFAULTS = {
    "cpu": DEFAULT_CPU,
    "memory": DEFAULT_MEMORY,
    "timeoutSeconds": DEFAULT_TIMEOUT_SECONDS,
    "queueSeconds": DEFAULT_QUEUE_SECONDS,
}
IDENTITY = {
    "taskRole": task_identity.role("usher-STAGE-job-"),
    "subnets": task_identity.subnets,
    "securityGroups": task_identity.security_groups,
}
KEYS = {
    *_BOUNDS,
    "version",
    "name",
    "summary",
    "priority",
    "environment",
    "secrets",
    "launchType",
    "group",
    "parameters",
    "placement",
    *IDENTITY,
}
"""The keys of a description."""


@dataclass(frozen=True)
class JobDescription:
    """One revision of a job. `cpu` in ECS units (1024 = one core), `memory` in MiB."""

    name: str
    summary: str = ""
    cpu: int = DEFAULT_CPU
    memory: int = DEFAULT_MEMORY
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    queue_seconds: int = DEFAULT_QUEUE_SECONDS
    """Default time after which a waiting invocation is EXPIRED."""
    priority: Priority = Priority.NORMAL
    launch_type: str | None = None
    """EC2 or FARGATE; None = the deployment's default."""
    group: str | None = None
    """The job's capacity group; None = the default group."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables whose values ECS reads from references, by name; see
    `chalicelib.contract.secrets`."""
    parameters: Mapping[str, Any] | None = None
    """JSON Schema; None = the job has no parameters."""
    placement: Placement = field(default_factory=Placement)
    """Placement of its containers on EC2; not used on Fargate."""
    task_role: str | None = None
    """The role `usher-STAGE-job-…` of its containers; None = no rights on AWS."""
    subnets: tuple[str, ...] = ()
    """Subnets of its tasks, instead of the deployment's; Fargate only."""
    security_groups: tuple[str, ...] = ()
    """Security groups of its tasks, instead of the deployment's; Fargate only."""

    def to_json(self) -> dict[str, Any]:
        """The document that `parse_description` reads."""
        some: dict[str, Any] = {"secrets": dict(self.secrets)} if self.secrets else {}
        some |= {"group": self.group} if self.group else {}
        some |= {"placement": placement} if (placement := self.placement.to_json()) else {}
        some |= {"taskRole": self.task_role} if self.task_role else {}
        some |= {"subnets": list(self.subnets)} if self.subnets else {}
        some |= {"securityGroups": list(self.security_groups)} if self.security_groups else {}
        return some | {
            "version": 1,
            "name": self.name,
            "summary": self.summary,
            "cpu": self.cpu,
            "memory": self.memory,
            "timeoutSeconds": self.timeout_seconds,
            "queueSeconds": self.queue_seconds,
            "priority": self.priority.value,
            "launchType": self.launch_type,
            "environment": dict(self.environment),
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class DeployedJob:
    """One revision of a job."""

    description: JobDescription
    task_definition: str
    image: str

    @property
    def revision(self) -> int:
        """The number of the revision."""
        return int(self.task_definition.rsplit(":", 1)[1])


def parse_description(document: Any) -> JobDescription:
    """Parse a description. Raises BadRequestError with all problems."""
    if not isinstance(document, Mapping):
        raise BadRequestError("description: a JSON object")
    problems = [f"{key}: unknown" for key in sorted(set(document) - KEYS)]
    problems += _problems(document)
    if problems:
        raise BadRequestError("description: " + "; ".join(problems))
    whole = _DEFAULTS | {key: document[key] for key in _BOUNDS if document.get(key) is not None}
    return JobDescription(
        name=document["name"],
        summary=str(document.get("summary") or "")[:200],
        cpu=whole["cpu"],
        memory=whole["memory"],
        timeout_seconds=whole["timeoutSeconds"],
        queue_seconds=whole["queueSeconds"],
        priority=Priority(document.get("priority") or Priority.NORMAL),
        launch_type=document.get("launchType"),
        group=document.get("group"),
        environment=dict(document.get("environment") or {}),
        secrets=dict(document.get("secrets") or {}),
        parameters=document.get("parameters"),
        placement=parse_placement(from_json(document.get("placement"))),
        task_role=document.get("taskRole"),
        subnets=tuple(document.get("subnets") or ()),
        security_groups=tuple(document.get("securityGroups") or ()),
    )


def _problems(document: Mapping[str, Any]) -> list[str]:
    problems = []
    name = document.get("name")
    if not isinstance(name, str) or not JOB_NAME.fullmatch(name):
        problems.append(f"name: {JOB_NAME_RULE}")
    if document.get("version", 1) != 1:
        problems.append("version: 1")
    for key, (low, high) in _BOUNDS.items():
        value = document.get(key, low)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and low <= value <= high):
            problems.append(f"{key}: a whole number from {low} to {high}")
    if (document.get("priority") or Priority.NORMAL) not in list(Priority):
        problems.append(f"priority: one of {', '.join(Priority)}")
    if document.get("launchType") not in (None, *LAUNCH_TYPES):
        problems.append(f"launchType: one of {', '.join(LAUNCH_TYPES)}, or null")
    if not isinstance(document.get("group"), str | None):
        problems.append("group: the name of a capacity group, or null")
    problems += _problems_of_variables(document)
    placement, fargate = document.get("placement"), document.get("launchType") == "FARGATE"
    wrong = problems_of_placement(from_json(placement), fargate=fargate)
    problems += [f"placement: {problem}" for problem in wrong]
    problems += _problems_of_identity(document)
    schema = document.get("parameters")
    if schema is not None and not isinstance(schema, Mapping):
        problems.append("parameters: a JSON Schema, or null")
    elif len(repr(schema)) > MAX_SCHEMA_BYTES:
        problems.append(f"parameters: a schema of at most {MAX_SCHEMA_BYTES} bytes")
    return problems


NETWORK_NEEDS_FARGATE = (
    "subnets and securityGroups need a network interface for each task, which jobs have only on "
    "Fargate"
)


def _problems_of_identity(document: Mapping[str, Any]) -> list[str]:
    given = {key: value for key in IDENTITY if (value := document.get(key)) is not None}
    problems = [
        f"{key}: must be {wanted}"
        for key, value in given.items()
        if (wanted := IDENTITY[key](value)) is not None
    ]
    if document.get("launchType") == "EC2" and given.keys() & {"subnets", "securityGroups"}:
        problems.append(NETWORK_NEEDS_FARGATE)
    return problems


_PAIRS = (
    "an object of strings without NUL and lone surrogates, by names without =, blanks and control "
    "characters"
)


def _problems_of_variables(document: Mapping[str, Any]) -> list[str]:
    environment, secrets = document.get("environment") or {}, document.get("secrets") or {}
    problems = [] if _are_pairs(environment) else [f"environment: {_PAIRS}"]
    problems += [
        f"environment: {key} changes what code runs; set it in the image"
        for names in (environment, secrets)
        if isinstance(names, Mapping)
        for key in names
        if RUNS_CODE.fullmatch(key)
    ]
    wrong = problems_of(secrets, environment)
    return problems + [f"secrets: {problem}" for problem in wrong]


def _are_pairs(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        is_variable(name) and isinstance(content, str) and can_be_passed(content)
        for name, content in value.items()
    )
