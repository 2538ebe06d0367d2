"""The dispatcher: a container of their own for every user. Entry points live in chalicelib/api/."""

from chalice.app import Chalice

import chalicelib.api.apps
import chalicelib.api.audit
import chalicelib.api.console
import chalicelib.api.demo
import chalicelib.api.feed
import chalicelib.api.grading
import chalicelib.api.health
import chalicelib.api.hosts
import chalicelib.api.jobs
import chalicelib.api.logs
import chalicelib.api.openapi
import chalicelib.api.overview
import chalicelib.api.schedules
import chalicelib.api.sessions
import chalicelib.api.tasks
from chalicelib.api.audit import record_refusals
from chalicelib.api.http import refuse_parameters, restrict_cors, unify_errors

app = Chalice(app_name="usher")
app.api.binary_types.append("multipart/form-data")
app.register_middleware(restrict_cors, "http")
app.register_middleware(unify_errors, "http")
app.register_middleware(record_refusals, "http")
app.register_middleware(refuse_parameters(app.routes), "http")
app.register_blueprint(chalicelib.api.sessions.routes)
app.register_blueprint(chalicelib.api.tasks.routes)
app.register_blueprint(chalicelib.api.feed.routes)
app.register_blueprint(chalicelib.api.apps.routes)
app.register_blueprint(chalicelib.api.hosts.routes)
app.register_blueprint(chalicelib.api.jobs.routes)
app.register_blueprint(chalicelib.api.schedules.routes)
app.register_blueprint(chalicelib.api.grading.routes)
app.register_blueprint(chalicelib.api.logs.routes)
app.register_blueprint(chalicelib.api.audit.routes)
app.register_blueprint(chalicelib.api.health.routes)
app.register_blueprint(chalicelib.api.openapi.routes)
app.register_blueprint(chalicelib.api.overview.routes)
app.register_blueprint(chalicelib.api.demo.routes)
app.register_blueprint(chalicelib.api.console.routes)
