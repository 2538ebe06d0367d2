"""Every quota of docs/capacity.md, with the most that a run used of it."""

from dataclasses import dataclass

from local.aws.ecs.buckets import Limits
from simulation.models import dynamodb, ecs, functions
from simulation.world import World

RATES = Limits()
TABLE_WRITES = 40_000
CONTAINER_INSTANCES = 5_000
CONNECTIONS = 65_000
LOG_CALLS = 5_000
ON_DEMAND_VCPUS = 1_152
GROUP_SIZE = 115
ADDRESSES = 8_184
SHARDS = 200


@dataclass(frozen=True)
class Quota:
    """One quota of an account and region, or of a resource, and the peak use of it."""

    name: str
    unit: str
    quota: float
    peak: float
    where: str

    @property
    def share(self) -> float:
        """Peak use over the quota."""
        return self.peak / self.quota


def quotas(world: World) -> list[Quota]:
    """The quotas that one cell meets. Rates are of the fullest minute, unless they say second."""
    cell, peaks = world.cell, world.cell.meter.peaks
    hosts = peaks["hosts"]
    minutes = [name for name in list(cell.meter.minutes) if name.startswith("partition ")]
    partition = max((_sustained(world, name) for name in minutes), default=0.0)
    modify, read = RATES.modify, RATES.read
    if modify is None or read is None:
        raise AssertionError("ECS has rates")
    live = peaks["live sessions"]
    return [
        Quota(
            "ECS: RunTask, StartTask, StopTask, sustained",
            "1/s",
            modify.per_second,
            _sustained(world, "ECS starts"),
            "account and region; bursts of 100",
        ),
        Quota(
            "ECS: the same, fullest second", "1/s", modify.burst, peaks["ECS starts"], "the burst"
        ),
        Quota(
            "ECS: DescribeTasks and other reads",
            "1/s",
            read.burst,
            peaks["ECS looks"],
            "20 a second in the long run",
        ),
        Quota(
            "ECS: tasks in PROVISIONING",
            "",
            ecs.MOST_PROVISIONING,
            peaks["tasks in PROVISIONING"],
            "cluster",
        ),
        Quota("ECS: container instances", "", CONTAINER_INSTANCES, hosts, "cluster"),
        Quota(
            "EC2: running on-demand standard vCPUs",
            "",
            ON_DEMAND_VCPUS,
            hosts * cell.shape.host.vcpus,
            "account and region; often less",
        ),
        Quota("Auto Scaling: size of the group", "hosts", cell.scaling.maximum, hosts, "MaxHosts"),
        Quota(
            "Lambda: concurrent executions",
            "",
            functions.CONCURRENT,
            peaks["concurrent executions"],
            "account and region",
        ),
        Quota(
            "API Gateway: requests, fullest second",
            "1/s",
            functions.REQUESTS.per_second,
            peaks["requests"],
            "account and region",
        ),
        Quota(
            "DynamoDB: write units of the table",
            "1/s",
            TABLE_WRITES,
            _sustained(world, "write units"),
            "table, on demand",
        ),
        Quota(
            "DynamoDB: write units of the fullest partition",
            "1/s",
            dynamodb.PARTITION.per_second,
            partition,
            "partition",
        ),
        Quota("Kinesis: shards", "", SHARDS, 1, "by the data, not by sessions"),
        Quota(
            "ElastiCache: connections of a node", "", CONNECTIONS, live, "node; one a live session"
        ),
        Quota(
            "VPC: addresses of the subnets",
            "",
            ADDRESSES,
            hosts,
            "hosts only; on Fargate one a session",
        ),
        Quota(
            "CloudWatch: PutLogEvents",
            "1/s",
            LOG_CALLS,
            live / 250,
            "one a live session each 250 s (assumed)",
        ),
    ]


def _sustained(world: World, name: str) -> float:
    """A second's share of the fullest minute."""
    return max(world.cell.meter.minutes[name].values(), default=0.0) / 60
