"""What the dispatcher and the container of a job say to each other: names, and nothing else.

Standard library only. docs/contracts.md describes each name for people who write such containers
in other languages.
"""

import re
from enum import StrEnum


class JobEnv(StrEnum):
    """Environment variables of a job's container."""

    INVOCATION_ID = "INVOCATION_ID"
    INVOCATION_ATTEMPT = "INVOCATION_ATTEMPT"
    INVOCATION_KEY = "INVOCATION_KEY"
    """What the container proves itself with, as bearer token."""
    INVOCATION_URL = "INVOCATION_URL"
    """Where it asks for leave to start, and tells: `…/start`, `…/progress`, `…/finish`."""
    JOB_NAME = "JOB_NAME"
    JOB_REVISION = "JOB_REVISION"


TRACEPARENT = "TRACEPARENT"
"""Environment variable of a job that was asked for with a trace context: W3C's header."""


class Outcome(StrEnum):
    """`outcome` of the body of `…/finish`: how the run went, by the container's own word."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INVALID = "invalid"
    """The parameters do not fit the job's own schema: nothing ran."""
    KILLED = "killed"
    """It ended because of the SIGTERM that a kill sends."""


DESCRIPTION_LABEL = "usher.job"
"""Docker label of a job's container definition: its description in JSON, so that what a revision
takes and needs is registered with the revision."""

EXIT_NOT_RUN = 75
"""Exit code of a container that was not given leave, or could not ask: no user code ran."""
EXIT_INVALID = 65
"""Exit code after parameters that do not fit."""
EXIT_TIMED_OUT = 124
"""Exit code after the job's time was up."""

MAX_PARAMETERS_BYTES = 65_536
"""Of the parameters as JSON in UTF-8."""
MAX_RESULT_BYTES = 131_072
"""Of the result as JSON in UTF-8."""
MAX_MESSAGE_CHARACTERS = 500
"""Of a progress message, and of the detail of an end."""

JOB_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a job may be called."""
JUDGE_JOB = "usher_judge"
"""The job that marks submissions; the dispatcher alone asks for it."""
JOB_NAME_RULE = "1 to 40 of a-z, 0-9 and _, beginning with a letter"
"""The same for people."""
DEFAULT_TIMEOUT_SECONDS = 900
"""How long a job may run that does not say."""
