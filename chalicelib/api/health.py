"""Whether the dispatcher can do its work, and on a laptop: how it is doing."""

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering
from chalicelib.errors import NotFoundError
from chalicelib.metrics import ProcessMetrics
from chalicelib.wiring import services

routes = Blueprint(__name__)


@routes.route("/health", methods=["GET"])
@answering
def health() -> Response:
    """200 when the table of sessions answers; 503 when not."""
    config = services().config
    services().check()
    return answer({"status": "ok", "stage": config.stage, "apps": sorted(config.apps.by_name)})


@routes.route("/metrics", methods=["GET"])
@answering
def metrics() -> Response:
    """The process's metrics in Prometheus's text format; on AWS they are in CloudWatch."""
    told = services().metrics
    if not isinstance(told, ProcessMetrics):
        raise NotFoundError("metrics are in CloudWatch")
    headers = {"Content-Type": "text/plain; version=0.0.4", "Cache-Control": "no-store"}
    return Response(told.text(), headers=headers)
