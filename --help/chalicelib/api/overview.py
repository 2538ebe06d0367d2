"""Problems and activity in one answer, for the console's first page and `usher top`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of
from chalicelib.capacity.groups import UNBOUNDED, Amount
from chalicelib.capacity.shares import borrowed
from chalicelib.config import Config, authorization, dead_letter_queues
from chalicelib.instants import instant
from chalicelib.metrics import Metrics, ProcessMetrics
from chalicelib.tasks.percentiles import percentile
from chalicelib.tasks.trend import ADDRESS, WAITS
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.ecs.hosts import Host
    from chalicelib.tasks.sweep_state import Finished

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
ALARM_SECONDS = 300
"""The alarm stays open for this long after a judge's error, as in infra/template.yaml."""
MOST_HOSTS = 100
"""Maximum number of hosts that are read, with two calls to ECS."""
_log = logging.getLogger("usher.overview")


@routes.route("/overview", methods=["GET"], authorizer=AUTHORIZER)
@answering
def overview() -> Response:
    """Waiting, running and failed work. For operators and viewers.

    Sessions by app and state, jobs by state, starts, waits for addresses, orphans and the trend are
    those of the sweep's last complete pass.
    """
    config = services().config
    known_caller_of(routes.current_request, config).require_sight()
    services().check()
    now, sessions = services().environment.now(), services().sessions
    state = services().sweep_states.read()
    finished = state.finished
    jobs = services().jobs.invocations.queue_facts()
    dead = dead_letter_queues(config.stage)
    counts = {} if finished is None else finished.counts
    return answer(
        {
            "at": instant(now),
            "sweep": None if finished is None else show_pass(finished),
            "alarms": _alarms(config),
            "deadLetters": {name: services().queues.count(queue) for name, queue in dead.items()},
            "orphans": 0 if finished is None else finished.orphans,
            "sessions": {
                **count_of_live(*sessions.table.count_live(), finished, now),
                "byApp": _by_app(counts),
                "waitingForHosts": counts.get("waiting_for_hosts", 0),
                "timeToAddress": _time_to_address(counts),
            },
            "startsInLastMinute": counts.get("started", 0),
            "jobs": {
                "waiting": {priority.value: n for priority, n in jobs.waiting.items()},
                "oldestWaitingSince": instant(jobs.oldest_at),
                "running": jobs.running,
                "capacity": jobs.capacity,
                "byState": _by_state(counts),
            },
            "groups": _groups(),
            "gradingsWaiting": counts.get("gradings_waiting", 0),
            "hosts": _hosts(),
            "trend": [
                {**dict.fromkeys(WAITS), **point, "at": instant(point["at"])}
                for point in state.trend
            ],
        }
    )


def _groups() -> list[dict[str, Any]]:
    """The usage of each capacity group, and the number of its waiting containers; empty without
    groups.
    """
    ledger = services().sessions.ledger
    shown = []
    standings = ledger.standings(fresh=True)
    for name, group in ledger.groups.by_name.items():
        if (standing := standings.get(name)) is None:
            continue
        waiting = services().jobs.invocations.waiting_in(name)
        shown.append(
            {
                "name": name,
                "tier": group.tier.value,
                "taken": asdict(standing.taken),
                "guaranteed": asdict(group.guarantee),
                "maximum": _maximum(group.maximum),
                "borrowed": asdict(borrowed(ledger.groups, group, standing.taken)),
                "waiting": waiting + services().sessions.table.count_waiting(name),
                "secondsBetweenStarts": standing.pace,
            }
        )
    return shown


def _maximum(amount: Amount) -> dict[str, int | None]:
    return {each: n if n < UNBOUNDED else None for each, n in asdict(amount).items()}


def show_pass(finished: "Finished") -> dict[str, Any]:
    """A complete pass of the sweep."""
    return {
        "finishedAt": instant(finished.at),
        "seconds": finished.seconds,
        "records": finished.records,
        "tasks": finished.tasks,
        "skipped": finished.skipped,
    }


def count_of_live(
    counted: int, is_whole: bool, finished: "Finished | None", at: float
) -> dict[str, Any]:
    """The number of sessions that have not ended: as counted `at`, or by the last pass if that
    count is incomplete. Pure.
    """
    if not is_whole and finished is not None:
        swept = sum(n for name, n in finished.counts.items() if name.startswith("session/"))
        counted, at, is_whole = max(counted, swept), finished.at, True
    return {"live": counted, "liveAt": instant(at), "liveWhole": is_whole}


def _by_app(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        kind, _, rest = name.partition("/")
        app, _, state = rest.partition("/")
        if kind == "session" and count:
            found.setdefault(app, {})[state] = count
    return dict(sorted(found.items()))


def _by_state(counts: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in counts.items():
        kind, _, rest = name.partition("/")
        if kind == "invocation" and count:
            state = rest.partition("/")[0]
            found[state] = found.get(state, 0) + count
    return dict(sorted(found.items()))


def _time_to_address(counts: Mapping[str, int]) -> dict[str, float | None]:
    return {
        "p50Seconds": percentile(counts, ADDRESS, 0.5),
        "p99Seconds": percentile(counts, ADDRESS, 0.99),
    }


def _alarms(config: Config) -> list[dict[str, Any]] | None:
    """The open alarms; None if CloudWatch does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    if config.metrics_here:
        return alarms_of(services().metrics, services().environment.now())
    try:
        found = services().alarms.open()
    except (BotoCoreError, ClientError):
        _log.exception("CloudWatch does not say which alarms are open")
        return None
    return [{"name": a.name, "since": instant(a.since), "reason": a.reason} for a in found]


def alarms_of(metrics: Metrics, now: float) -> list[dict[str, Any]]:
    """The alarm on failing judges, from this process's metrics, for deployments without
    CloudWatch.
    """
    at = None
    if isinstance(metrics, ProcessMetrics):
        at = metrics.counted_at("grading_internal_errors")
    if at is None or now - at > ALARM_SECONDS:
        return []
    reason = "a grader or its judge failed (verdict IE); the log of its grading says why"
    return [{"name": "grading-internal-errors", "since": instant(at), "reason": reason}]


def _hosts() -> dict[str, Any] | None:
    """Totals of the first MOST_HOSTS hosts; None if ECS does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        hosts, following = services().cluster.page(MOST_HOSTS, None)
    except (BotoCoreError, ClientError):
        _log.exception("ECS does not say which hosts there are")
        return None
    return _show_hosts(hosts, is_whole=following is None)


def _show_hosts(hosts: "Sequence[Host]", *, is_whole: bool) -> dict[str, Any]:
    from chalicelib.ecs.hosts import host_id_of

    return {
        "counted": len(hosts),
        "whole": is_whole,
        "leaving": [host_id_of(host.arn) for host in hosts if host.is_leaving],
        "cpu": {
            "total": sum(h.cpu.total for h in hosts),
            "left": sum(h.cpu.left for h in hosts),
        },
        "memory": {
            "total": sum(h.memory.total for h in hosts),
            "left": sum(h.memory.left for h in hosts),
        },
    }
