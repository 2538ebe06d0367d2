"""Promises to operators: alarms exist and are silent, and nothing is left behind."""

from typing import Any

from conformance.target import Session, require

RUNG_BY_THE_SUITE = ("breaker-open", "pool-empty")
"""Alarms that the broken image and the killed host cause."""


def alarms(session: Session) -> str:
    """Every alarm of the stage exists, and none is open except those that the suite caused."""
    session.target.has_alarms()
    cloudwatch = session.target.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=f"usher-{session.target.stage}-"
    )
    found = [alarm for page in pages for alarm in page["MetricAlarms"]]
    require(found, "there is no alarm")
    ringing = [a["AlarmName"] for a in found if a["StateValue"] == "ALARM"]
    expected = {f"usher-{session.target.stage}-{name}" for name in RUNG_BY_THE_SUITE}
    require(set(ringing) <= expected, f"in ALARM: {', '.join(ringing)}")
    return f"{len(found)} alarms"


POOLS = ("warm", "fargate-warm")
"""Apps whose pools have a container when everything is over."""


def orphans(session: Session) -> str:
    """After everything no task runs but the pool's."""
    ecs, cluster = session.target.client("ecs"), f"usher-{session.target.stage}"

    def only_the_pool() -> bool:
        return not [
            task for task in _tasks(ecs, cluster) if not any(_is_of(task, app) for app in POOLS)
        ]

    session.wait("the end of all tasks", session.target.limits.end * 2, only_the_pool, every=1.0)
    return f"{len(_tasks(ecs, cluster))} tasks of the pool"


def _tasks(ecs: Any, cluster: str) -> list[dict[str, Any]]:
    arns = [
        arn
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster)
        for arn in page["taskArns"]
    ]
    found: list[dict[str, Any]] = []
    for start in range(0, len(arns), 100):
        answer = ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + 100])
        found += [task for task in answer["tasks"] if task["lastStatus"] != "STOPPED"]
    return found


def _is_of(task: dict[str, Any], app: str) -> bool:
    return f"-{app}:" in str(task["taskDefinitionArn"])
