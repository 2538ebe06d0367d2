"""The dispatcher: a container of their own for every user. Routes live in chalicelib's rooms."""

from chalice.app import Chalice

import chalicelib.demo.routes
import chalicelib.ecs.routes
import chalicelib.feed.routes
import chalicelib.health
import chalicelib.jobs.log_routes
import chalicelib.jobs.routes
import chalicelib.jobs.schedule_routes
import chalicelib.sessions.routes
from chalicelib.http import unify_errors

app = Chalice(app_name="usher")
app.register_middleware(unify_errors, "http")
app.register_blueprint(chalicelib.sessions.routes.routes)
app.register_blueprint(chalicelib.ecs.routes.routes)
app.register_blueprint(chalicelib.feed.routes.routes)
app.register_blueprint(chalicelib.jobs.routes.routes)
app.register_blueprint(chalicelib.jobs.schedule_routes.routes)
app.register_blueprint(chalicelib.jobs.log_routes.routes)
app.register_blueprint(chalicelib.health.routes)
app.register_blueprint(chalicelib.demo.routes.routes)
