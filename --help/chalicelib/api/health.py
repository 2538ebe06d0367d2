"""Health and metrics of the dispatcher."""

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, takes
from chalicelib.api.overview import show_pass
from chalicelib.errors import NotFoundError
from chalicelib.metrics import ProcessMetrics
from chalicelib.wiring import services

routes = Blueprint(__name__)


@routes.route("/health", methods=["GET"])
@answering
@takes(ignores_others=True)
def health() -> Response:
    """200 if the sessions' table answers, else 503. `sweep` is its last complete pass."""
    config = services().config
    finished = services().check()
    apps = sorted(config.apps.by_name)
    sweep = None if finished is None else show_pass(finished)
    return answer({"status": "ok", "stage": config.stage, "apps": apps, "sweep": sweep})


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
