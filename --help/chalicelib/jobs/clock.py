"""Delivers a message to a queue at a given time: with SQS's delay if it is soon, else with
EventBridge Scheduler.

SQS is exact to the second and delays by fifteen minutes at most; EventBridge Scheduler accepts any
time and may be a minute late.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.logs import fields_in
from chalicelib.tasks.queues import MAX_DELAY_SECONDS, Queues

_log = logging.getLogger("usher.jobs")


class Clock:
    """Sends messages later. Failures are logged; the sweep does the work of a message that is
    missing.
    """

    def __init__(
        self,
        queues: Queues,
        scheduler: Callable[[], Any],
        stage: str,
        now: Callable[[], float],
    ) -> None:
        """`scheduler()` returns the boto3 client, which is created when it is first needed because
        that takes time.
        """
        self._queues = queues
        self._scheduler = scheduler
        self._group = f"usher-{stage}"
        self._now = now

    def wake_at(
        self, at: float, message: Mapping[str, Any], queue: str, name: str | None = None
    ) -> bool:
        """Deliver the message at a time, or a little later; returns whether it was arranged.

        `name` is the name of the one-time schedule, if one is needed: a later call with the same
        name replaces it. The default name is derived from queue and message.
        """
        delay = math.ceil(at - self._now())
        if delay <= MAX_DELAY_SECONDS:
            return self._queues.send(queue, message, max(0, delay))
        body = json.dumps(message)
        name = name or sha256(f"{queue}\0{body}".encode()).hexdigest()[:48]
        try:
            self._put(self._one_time(name, at, body, self._queues.arn(queue)))
        except (BotoCoreError, ClientError) as error:
            fields = fields_in(message)
            _log.warning("left to the sweep: %s, due at %s: %s", body, at, error, extra=fields)
            return False
        return True

    def forget(self, name: str) -> None:
        """Delete the one-time schedule of this name, if there is one."""
        try:
            self._scheduler().delete_schedule(Name=name, GroupName=self._group)
        except (BotoCoreError, ClientError) as error:
            if not _is(error, "ResourceNotFoundException"):
                _log.warning("the one-time schedule %s stays, and wakes nobody: %s", name, error)

    def _put(self, wanted: Mapping[str, Any]) -> None:
        try:
            self._scheduler().create_schedule(**wanted)
        except ClientError as error:
            if not _is(error, "ConflictException"):
                raise
            self._scheduler().update_schedule(**wanted)

    def _one_time(self, name: str, at: float, body: str, queue_arn: str) -> dict[str, Any]:
        _, partition, _, _, account, _ = queue_arn.split(":")
        instant = datetime.fromtimestamp(math.ceil(at), UTC)
        return {
            "Name": name,
            "GroupName": self._group,
            "ScheduleExpression": f"at({instant:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": queue_arn,
                "RoleArn": f"arn:{partition}:iam::{account}:role/{self._group}-scheduler",
                "Input": body,
            },
        }


def _is(error: Exception, code: str) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == code
