"""The metrics that the dispatcher emits, the source of docs and dashboards. Pure.

A test compares them with the calls in the code: names, kinds and labels.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a metric is emitted."""

    COUNT = "count"
    GAUGE = "gauge"
    SUMMARY = "observe"


@dataclass(frozen=True)
class Metric:
    """One metric. `labels` besides the stage; `about` is its description for docs."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str

    @property
    def prometheus(self) -> tuple[str, ...]:
        """Its names in Prometheus's format."""
        suffixes = {Kind.COUNT: ("_total",), Kind.GAUGE: ("",), Kind.SUMMARY: ("_sum", "_count")}
        return tuple(f"usher_{self.name}{suffix}" for suffix in suffixes[self.kind])


METRICS = (
    Metric(
        "dispatched",
        Kind.COUNT,
        (
            "app",
            "kind",
        ),
        "sessions handed out",
    ),
    Metric(
        "time_to_claim_seconds", Kind.SUMMARY, ("app",), "a warm dispatch, inside the dispatcher"
    ),
    Metric(
        "time_to_address_seconds",
        Kind.SUMMARY,
        ("app",),
        "a cold dispatch, from the request to RESERVED",
    ),
    Metric("start_seconds", Kind.SUMMARY, ("app",), "from the record to the container being ready"),
    Metric("pool_warm", Kind.GAUGE, ("app",), "what waits ready"),
    Metric(
        "pool_members", Kind.GAUGE, ("app",), "what waits ready, and what is on its way to that"
    ),
    Metric(
        "sessions",
        Kind.GAUGE,
        (
            "app",
            "state",
        ),
        "what the last sweep saw",
    ),
    Metric(
        "sessions_ended",
        Kind.COUNT,
        (
            "app",
            "reason",
        ),
        "how sessions end",
    ),
    Metric(
        "launch_failures",
        Kind.COUNT,
        (
            "app",
            "failure",
        ),
        "what ECS refused: capacity, throttled, uncertain, refused",
    ),
    Metric(
        "breaker_failures",
        Kind.GAUGE,
        ("app",),
        "failed starts in a row of the newest failing revision",
    ),
    Metric(
        "sweep_actions",
        Kind.COUNT,
        ("action",),
        "what the sweep had to repair; `failed` among them",
    ),
    Metric(
        "sweep_pass_seconds",
        Kind.GAUGE,
        (),
        ("the last whole pass of the sweep: how long it took, pauses between invocations included"),
    ),
    Metric("sweep_pass_records", Kind.GAUGE, (), "records that it looked at"),
    Metric("sweep_pass_tasks", Kind.GAUGE, (), "tasks that it looked at"),
    Metric(
        "sweep_pass_age_seconds",
        Kind.GAUGE,
        (),
        ("how long ago the last whole pass ended; before the first one, how long ago it began"),
    ),
    Metric(
        "sweep_pass_skipped",
        Kind.GAUGE,
        (),
        (
            "pages of it that could not be looked through: throttled, or they ended the "
            "function three times"
        ),
    ),
    Metric(
        "records_unreadable", Kind.GAUGE, ("kind",), "records that the last sweep could not read"
    ),
    Metric("orphans_stopped", Kind.COUNT, (), "tasks that belong to nobody and were stopped"),
    Metric("orphan_seconds", Kind.SUMMARY, (), "how long they had run"),
    Metric("feed_records_relayed", Kind.COUNT, (), "records that the relay appended"),
    Metric("feed_records_repeated", Kind.COUNT, (), "records that came to it again"),
    Metric(
        "feed_records_filled",
        Kind.COUNT,
        (),
        "what it took from the stream's past for a Redis that lost entries",
    ),
    Metric(
        "feed_relay_lag_seconds",
        Kind.SUMMARY,
        (),
        "from the arrival of a batch's oldest record to its being in the feed",
    ),
    Metric("feed_relay_failures", Kind.COUNT, (), "batches that were not appended and come again"),
    Metric(
        "refused",
        Kind.COUNT,
        (
            "app",
            "code",
        ),
        "requests answered 429 or 503",
    ),
    Metric(
        "waiting_for_hosts",
        Kind.GAUGE,
        (),
        "tasks of sessions in ECS's PROVISIONING, for which hosts are being added",
    ),
    Metric("queue_waiting", Kind.GAUGE, (), "messages of the launch queue, about"),
    Metric(
        "jobs_accepted",
        Kind.COUNT,
        (
            "job",
            "priority",
        ),
        "invocations recorded",
    ),
    Metric(
        "jobs_ended",
        Kind.COUNT,
        (
            "job",
            "reason",
        ),
        "how invocations end",
    ),
    Metric(
        "job_wait_seconds",
        Kind.SUMMARY,
        ("job",),
        "from being asked for, or due, to the start permit",
    ),
    Metric("job_run_seconds", Kind.SUMMARY, ("job",), "from the start permit to the end"),
    Metric(
        "job_cpu_seconds",
        Kind.SUMMARY,
        ("job",),
        "processor time that a run took, by its container's word",
    ),
    Metric(
        "job_memory_mib",
        Kind.SUMMARY,
        ("job",),
        "the most memory that a run took, by its container's word",
    ),
    Metric(
        "job_launch_failures",
        Kind.COUNT,
        (
            "job",
            "failure",
        ),
        "what ECS refused: capacity, throttled, uncertain, refused",
    ),
    Metric(
        "job_breaker_failures",
        Kind.GAUGE,
        ("job",),
        "failed starts in a row of the newest failing revision",
    ),
    Metric(
        "invocations",
        Kind.GAUGE,
        (
            "state",
            "priority",
        ),
        "what the last sweep saw",
    ),
    Metric(
        "job_queue_age_seconds", Kind.GAUGE, (), "how long the oldest has been waiting for its turn"
    ),
    Metric("gradings_finished", Kind.COUNT, ("verdict",), "how gradings end"),
    Metric(
        "gradings_repeated",
        Kind.COUNT,
        (),
        "judges that ended without a mark: the grading went to another one",
    ),
    Metric("grading_internal_errors", Kind.COUNT, (), "gradings with the verdict IE"),
    Metric(
        "grading_seconds", Kind.SUMMARY, (), "from being handed in, or regraded, to the verdict"
    ),
    Metric(
        "gradings_waiting",
        Kind.GAUGE,
        (),
        "gradings that wait for a judge, as the last sweep saw them",
    ),
    Metric(
        "grading_queue_age_seconds", Kind.GAUGE, (), "how long the oldest of them has been waiting"
    ),
    Metric("job_places_taken", Kind.GAUGE, (), "how many of `JOBS_CAPACITY` are in use"),
)
BY_NAME = {metric.name: metric for metric in METRICS}
"""All metrics by name."""
