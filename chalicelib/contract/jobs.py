"""Names shared by the dispatcher and containers of jobs.

Standard library only. docs/contracts.md describes each name for developers of containers in other
languages.
"""

import re
from enum import StrEnum


class JobEnv(StrEnum):
    """Environment variables of a job's container."""

    INVOCATION_ID = "INVOCATION_ID"
    INVOCATION_ATTEMPT = "INVOCATION_ATTEMPT"
    INVOCATION_KEY = "INVOCATION_KEY"
    """The container's bearer token."""
    INVOCATION_URL = "INVOCATION_URL"
    """Base URL of the container's requests: `…/start`, `…/progress`, `…/finish`."""
    JOB_NAME = "JOB_NAME"
    JOB_REVISION = "JOB_REVISION"


TRACEPARENT = "TRACEPARENT"
"""Environment variable of a job whose request is in a trace: its place, as W3C has it."""
TRACES_ENDPOINT = "TRACES_ENDPOINT"
"""Environment variable of such a job: base URL of a collector of OTLP over HTTP, if any."""


class Outcome(StrEnum):
    """`outcome` of the body of `…/finish`: the result of the run, as the container reports it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INVALID = "invalid"
    """The parameters do not fit the job's own schema: no user code ran."""
    KILLED = "killed"
    """It ended because of the SIGTERM of a kill."""


DESCRIPTION_LABEL = "usher.job"
"""Docker label of a job's container definition: its description in JSON, registered with each
revision."""

EXIT_NOT_RUN = 75
"""Exit code of a container that did not receive a start permit: no user code ran."""
EXIT_INVALID = 65
"""Exit code after invalid parameters."""
EXIT_TIMED_OUT = 124
"""Exit code after the job's timeout."""

MAX_PARAMETERS_BYTES = 65_536
"""Maximum size of the parameters as JSON in UTF-8."""
MAX_RESULT_BYTES = 131_072
"""Maximum size of the result as JSON in UTF-8."""
MAX_MESSAGE_CHARACTERS = 500
"""Maximum length of a progress message, and of the detail of an end."""

JOB_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Valid names of jobs."""
JUDGE_JOB = "usher_judge"
"""The job that marks submissions; only the dispatcher invokes it."""
JOB_NAME_RULE = "1 to 40 of a-z, 0-9 and _, beginning with a letter"
"""The same as a text for messages."""
LAUNCH_TYPES = ("EC2", "FARGATE")
JOB_BOUNDS = {
    "cpu": (16, 16_384),
    "memory": (16, 122_880),
    "timeout_seconds": (1, 604_800),
    "queue_seconds": (1, 1_209_600),
}
"""Least and greatest values of a job's numbers: ECS units (1024 = one core), MiB, seconds."""
DEFAULT_CPU = 256
DEFAULT_MEMORY = 256
DEFAULT_TIMEOUT_SECONDS = 900
DEFAULT_QUEUE_SECONDS = 86_400
