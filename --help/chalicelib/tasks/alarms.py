"""The open CloudWatch alarms of a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST = 100


@dataclass(frozen=True)
class Alarm:
    """An alarm in the state ALARM. `since` in seconds since 1970."""

    name: str
    since: float
    reason: str


class Alarms:
    """The alarms of one stage, through a boto3 CloudWatch client."""

    def __init__(self, cloudwatch: Any, stage: str) -> None:
        self._cloudwatch = cloudwatch
        self._stage = stage

    def open(self) -> Sequence[Alarm]:
        """The open alarms, at most MOST. Raises botocore's errors."""
        answer = self._cloudwatch.describe_alarms(
            AlarmNamePrefix=f"usher-{self._stage}-", StateValue="ALARM", MaxRecords=MOST
        )
        return [
            Alarm(
                name=one["AlarmName"],
                since=one["StateUpdatedTimestamp"].timestamp(),
                reason=one.get("StateReason", ""),
            )
            for one in answer["MetricAlarms"]
        ]
