"""`GET /openapi.json`: the API's document."""

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, own_url
from chalicelib.wiring import services

routes = Blueprint(__name__)


@routes.route("/openapi.json", methods=["GET"])
@answering
def openapi() -> Response:
    """The API as an OpenAPI 3.1 document. It contains no jobs, apps or callers of the
    deployment.
    """
    from chalicelib.api.reference.document import openapi as build

    request = routes.current_request
    return answer(build(routes.current_app.routes, services().config.auth_mode, own_url(request)))
