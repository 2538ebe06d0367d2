"""The CloudWatch alarms of a stage that are open."""

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


def open_alarms(cloudwatch: Any, stage: str) -> Sequence[Alarm]:
    """Those of the stage, at most MOST. Raises botocore's errors."""
    answer = cloudwatch.describe_alarms(
        AlarmNamePrefix=f"usher-{stage}-", StateValue="ALARM", MaxRecords=MOST
    )
    return [
        Alarm(
            one["AlarmName"], one["StateUpdatedTimestamp"].timestamp(), one.get("StateReason", "")
        )
        for one in answer["MetricAlarms"]
    ]
