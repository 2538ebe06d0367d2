"""The Lambda functions of a Chalice app and what triggers them, read off the app object itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalice.app import (
    Chalice,
    CloudWatchEventConfig,
    KinesisEventConfig,
    ScheduledEventConfig,
    ScheduleExpression,
    SQSEventConfig,
)


class Source(StrEnum):
    """The trigger of a function."""

    SCHEDULE = "schedule"
    EVENT = "event"
    QUEUE = "queue"
    STREAM = "stream"
    NONE = "none"
    """A function that is only ever called by name."""
    OTHER = "other"
    """A source that the local cloud has no trigger for."""


@dataclass(frozen=True)
class Function:
    """One function besides the HTTP API. `settings` are its source's, as JSON values."""

    name: str
    source: Source
    settings: Mapping[str, Any]
    handler: Callable[[Any, Any], Any]
    lambda_handler: str
    """Lambda's handler, MODULE.ATTRIBUTE; for a blueprint's function not in `app`."""

    def describe(self) -> dict[str, Any]:
        """The function for others to read."""
        return {"name": self.name, "source": self.source, "settings": self.settings}


def find_functions(app: Chalice) -> dict[str, Function]:
    """All functions of the app by name."""
    functions = {}
    for config in app.event_sources:
        source, settings = _source_of(config)
        functions[config.name] = Function(
            config.name, source, settings, app.handler_map[config.name], config.handler_string
        )
    for pure in app.pure_lambda_functions:
        functions[pure.name] = Function(
            pure.name, Source.NONE, {}, app.handler_map[pure.name], pure.handler_string
        )
    return functions


def _source_of(config: Any) -> tuple[Source, dict[str, Any]]:
    if isinstance(config, ScheduledEventConfig):
        expression = config.schedule_expression
        if isinstance(expression, ScheduleExpression):
            expression = expression.to_string()
        return Source.SCHEDULE, {"expression": expression}
    if isinstance(config, CloudWatchEventConfig):
        return Source.EVENT, {"pattern": config.event_pattern}
    if isinstance(config, SQSEventConfig):
        queue = config.queue or config.queue_arn.rpartition(":")[2]
        return Source.QUEUE, {
            "queue": queue,
            "batch_size": config.batch_size,
            "maximum_concurrency": config.maximum_concurrency,
            "reports_failures": config.batch_size > 1,  # as `infra.deploy.finish` sets it
        }
    if isinstance(config, KinesisEventConfig):
        return Source.STREAM, {
            "stream": config.stream,
            "batch_size": config.batch_size,
            "starting_position": config.starting_position,
        }
    return Source.OTHER, {"kind": type(config).__name__}
