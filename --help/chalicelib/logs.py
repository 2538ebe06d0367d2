"""Structured logs: one JSON object a line, with ids in separate fields.

`extra={"session": …}` becomes a field. Secrets are never logged: paths and keys have no field.
"""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

FIELDS = (
    "session",
    "app",
    "invocation",
    "job",
    "schedule",
    "assignment",
    "submission",
    "grading",
    "image",
    "revision",
    "attempt",
    "owner",
    "state",
    "reason",
    "task",
    "failure",
    "free_places",
    "wanted_places",
)
_ROOT = "usher"


def fields_in(message: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` for a log record about a queue message: the fields that the message has."""
    return {name: message[name] for name in FIELDS if message.get(name) is not None}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            name: str(getattr(record, name))
            for name in FIELDS
            if getattr(record, name, None) is not None
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up() -> None:
    """Send the loggers below `usher` to stderr as JSON. Lambda writes stderr to CloudWatch Logs."""
    logger = logging.getLogger(_ROOT)
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
