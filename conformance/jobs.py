"""Jobs and schedules: run once, fail, killed, run again, at their time."""

from datetime import UTC, datetime
from typing import Any

from conformance.target import Session, require

END_SECONDS = 300.0


def invoke(session: Session, **parameters: Any) -> str:
    """Invoke `probe`, and return the invocation's id."""
    found = session.http("POST", "/jobs/probe/invocations", {"parameters": parameters})
    require(found.status == 201, f"{found.status} {found.body}")
    return str(found.body["id"])


def describe(session: Session, invocation_id: str) -> dict[str, Any]:
    """The present invocation."""
    return dict(session.http("GET", f"/invocations/{invocation_id}").body)


def end_of(session: Session, invocation_id: str) -> dict[str, Any]:
    """Wait for the end. Raises BrokenPromiseError."""

    def ended() -> dict[str, Any] | None:
        found = describe(session, invocation_id)
        return found if found.get("finishedAt") else None

    return dict(session.wait(f"the end of {invocation_id}", END_SECONDS, ended, every=1.0))


def job_runs(session: Session) -> str:
    """A job runs once, its result and its log can be read."""
    session.target.deploy_job()
    ended = end_of(session, invocation_id := invoke(session))
    require(ended["reason"] == "succeeded", str(ended))
    require(ended["result"] == {"slept": 0.0}, str(ended["result"]))
    require(ended["attempt"] == 1, f"attempt {ended['attempt']}")

    def logged() -> bool:
        found = session.http("GET", f"/invocations/{invocation_id}/logs")
        return any("probe: 0.0 seconds" in line["text"] for line in found.body.get("lines", ()))

    session.wait("its log", 60, logged, every=1.0)
    return "succeeded"


def job_fails(session: Session) -> str:
    """A job that raises has failed, and is not repeated automatically."""
    ended = end_of(session, invoke(session, fail=True))
    require((ended["reason"], ended["attempt"]) == ("failed", 1), str(ended))
    require("asked to fail" in str(ended["detail"]), str(ended["detail"]))
    return "failed"


def job_killed_and_again(session: Session) -> str:
    """A running job is killed; its rerun is a new invocation, which succeeds."""
    invocation_id = invoke(session, seconds=120)
    session.wait(
        "its start", END_SECONDS, lambda: describe(session, invocation_id)["state"] == "STARTED"
    )
    killed = session.http("POST", f"/invocations/{invocation_id}/kill")
    require(killed.status in {200, 202}, f"{killed.status} {killed.body}")
    require(end_of(session, invocation_id)["reason"] == "killed", "it was not killed")
    again = session.http("POST", f"/invocations/{invocation_id}/rerun")
    require(again.status == 201, f"{again.status} {again.body}")
    require(again.body["rerunOf"] == invocation_id, str(again.body))
    session.http("POST", f"/invocations/{again.body['id']}/kill")
    end_of(session, again.body["id"])
    return "killed, and asked for again"


def schedule_fires(session: Session) -> str:
    """A schedule of each minute makes an invocation at the minute, and none once it is gone."""
    wanted = {"job": "probe", "expression": "cron(* * * * ? *)", "parameters": {}}
    made = session.http("PUT", "/schedules/conformance", wanted)
    require(made.status in {200, 201}, f"{made.status} {made.body}")

    def fired() -> dict[str, Any] | None:
        found = session.http("GET", "/invocations?job=probe&limit=100").body["invocations"]
        return next((one for one in found if one["schedule"] == "conformance"), None)

    try:
        run = session.wait("its run", 180, fired, every=2.0)
    finally:
        gone = session.http("DELETE", "/schedules/conformance")
    require(gone.status in {200, 204}, f"{gone.status} {gone.body}")
    planned = datetime.fromisoformat(run["plannedAt"])
    require(planned.second == 0, f"planned at {planned}")
    ended = end_of(session, run["id"])
    require(ended["reason"] == "succeeded", str(ended))
    return f"the run of {planned.astimezone(UTC):%H:%M} UTC"
