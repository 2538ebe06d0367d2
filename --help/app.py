"""The dispatcher: a container of their own for every user. Entry points live in chalicelib/api/."""

from chalice.app import Chalice

from chalicelib.api import (
    apps,
    audit,
    console,
    demo,
    feed,
    grading,
    health,
    hosts,
    jobs,
    logs,
    openapi,
    overview,
    placement,
    schedules,
    sessions,
    tasks,
)
from chalicelib.api.audit import record_refusals
from chalicelib.api.http import refuse_parameters, restrict_cors, unify_errors

app = Chalice(app_name="usher")
app.api.binary_types.append("multipart/form-data")
app.register_middleware(restrict_cors, "http")
app.register_middleware(unify_errors, "http")
app.register_middleware(record_refusals, "http")
app.register_middleware(refuse_parameters(app.routes), "http")
PARTS = (
    sessions, tasks, feed, apps, hosts, placement, jobs, schedules, grading, logs, audit, health,
    openapi, overview, demo, console,
)  # fmt: skip
for part in PARTS:
    app.register_blueprint(part.routes)
