"""Whether the dispatcher can do its work, and how it is doing."""

from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, takes
from chalicelib.config import authorization, dead_letter_queues
from chalicelib.errors import NotFoundError
from chalicelib.instants import instant
from chalicelib.metrics import ProcessMetrics
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.tasks.sweep_state import Finished

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())


@routes.route("/health", methods=["GET"])
@answering
@takes(ignores_others=True)
def health() -> Response:
    """200 when the table of sessions answers; 503 when not. `sweep` is its last whole pass."""
    config = services().config
    finished = services().check()
    apps = sorted(config.apps.by_name)
    sweep = None if finished is None else _show(finished)
    return answer({"status": "ok", "stage": config.stage, "apps": apps, "sweep": sweep})


@routes.route("/overview", methods=["GET"], authorizer=AUTHORIZER)
@answering
def overview() -> Response:
    """Counts of what waits, runs and was given up. For operators and viewers."""
    config = services().config
    known_caller_of(routes.current_request, config).require_sight()
    finished = services().check()
    jobs = services().jobs.invocations.queue_facts()
    dead = dead_letter_queues(config.stage)
    return answer(
        {
            "at": instant(services().environment.now()),
            "sweep": None if finished is None else _show(finished),
            "deadLetters": {name: services().queues.count(queue) for name, queue in dead.items()},
            "sessions": {"live": services().sessions.table.count_live()},
            "jobs": {
                "waiting": {priority.value: n for priority, n in jobs.waiting.items()},
                "oldestWaitingSince": instant(jobs.oldest_at),
                "running": jobs.running,
                "capacity": jobs.capacity,
            },
        }
    )


def _show(finished: "Finished") -> dict[str, Any]:
    return {
        "finishedAt": instant(finished.at),
        "seconds": finished.seconds,
        "records": finished.records,
        "tasks": finished.tasks,
        "skipped": finished.skipped,
    }


@routes.route("/metrics", methods=["GET"])
@answering
@takes(ignores_others=True)
def metrics() -> Response:
    """The process's metrics in Prometheus's text format; on AWS they are in CloudWatch."""
    counted = services().metrics
    if not isinstance(counted, ProcessMetrics):
        raise NotFoundError("metrics are in CloudWatch")
    headers = {"Content-Type": "text/plain; version=0.0.4", "Cache-Control": "no-store"}
    return Response(counted.text(), headers=headers)
