"""Whether the dispatcher can do its work."""

from chalice.app import Blueprint, Response

from chalicelib.http import CORS, answer, answering
from chalicelib.wiring import services

routes = Blueprint(__name__)


@routes.route("/health", methods=["GET"], cors=CORS)
@answering
def health() -> Response:
    """200 when the table of sessions answers; 503 when not."""
    config = services().config
    services().check()
    return answer({"status": "ok", "stage": config.stage, "apps": sorted(config.apps.by_name)})
