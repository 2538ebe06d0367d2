"""Sessions: cold, warm, limited, broken, on a full cluster, over deployments and dead hosts."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conformance.target import BrokenPromiseError, Session, require

WAIT_SECONDS = 20


def obtain(session: Session, app: str, seconds: float | None = None) -> dict[str, Any]:
    """A session with an address, requested as a client does. Raises BrokenPromiseError."""
    began = session.now()
    deadline = began + (seconds or session.target.limits.cold)
    found = session.http("GET", f"/session?app={app}&wait={WAIT_SECONDS}")
    while found.status == 202:
        if session.now() > deadline:
            raise BrokenPromiseError(f"no address of {app}: {found.body}")
        session.sleep(float(found.body.get("retryAfter", 1)))
        found = session.http("GET", f"/sessions/{found.body['id']}")
    require(found.status == 200 and "url" in found.body, f"{app}: {found.status} {found.body}")
    session.facts[f"{app}: seconds to an address"] = f"{session.now() - began:.2f}"
    return dict(found.body)


@contextmanager
def connected(to: dict[str, Any], query: str = "") -> Iterator[Any]:
    """The session's websocket, after its hello. Raises BrokenPromiseError."""
    from websockets.sync.client import connect

    try:
        with connect(to["url"] + query, open_timeout=20, max_size=None) as websocket:
            hello = json.loads(websocket.recv(timeout=20))
            require(hello.get("type") == "hello", f"the first message is {hello}")
            require(hello.get("session") == to["id"], f"the hello is another's: {hello}")
            yield websocket
    except (OSError, TimeoutError) as error:
        raise BrokenPromiseError(f"the websocket of {to['id']}: {error!r}") from error


def state_of(session: Session, session_id: str) -> dict[str, Any]:
    """The present session."""
    return dict(session.http("GET", f"/sessions/{session_id}").body)


def end_of(session: Session, session_id: str) -> str:
    """Wait for the end, and return its reason. Raises BrokenPromiseError."""

    def probe() -> dict[str, Any] | None:
        found = state_of(session, session_id)
        return found if found.get("state") == "ENDED" else None

    found = session.wait(f"the end of {session_id}", session.target.limits.end, probe)
    return str(found["reason"])


def stop(session: Session, session_id: str) -> None:
    """Request the end, and wait for it."""
    session.http("DELETE", f"/sessions/{session_id}")
    end_of(session, session_id)


def task_of(session: Session, session_id: str) -> str | None:
    """The ARN of the session's task while it runs."""
    arns = session.target.client("ecs").list_tasks(
        cluster=f"usher-{session.target.stage}", startedBy=f"session/{session_id}"
    )["taskArns"]
    return str(arns[0]) if arns else None


def cold_session(session: Session) -> str:
    """One GET gives one container, which ends with its client."""
    return _whole_life(session, "cold")


def fargate_session(session: Session) -> str:
    """One GET gives one container on Fargate, which ends with its client."""
    session.target.has_fargate()
    return _whole_life(session, "fargate")


def _whole_life(session: Session, app: str) -> str:
    found = obtain(session, app)
    require(found["path"].strip("/") not in (found["id"], ""), "the path is no secret")
    with connected(found):
        session.wait("ACTIVE", 30, lambda: state_of(session, found["id"]).get("state") == "ACTIVE")
    reason = end_of(session, found["id"])
    require(reason == "disconnected", f"it ended as {reason}")
    return f"address after {session.facts[f'{app}: seconds to an address']} s"


def warm_session(session: Session) -> str:
    """A warm container is handed out at once, and another replaces it."""
    return _warm_life(session, "warm")


def fargate_warm_session(session: Session) -> str:
    """A warm container on Fargate is handed out at once, and another replaces it."""
    session.target.has_fargate()
    return _warm_life(session, "fargate-warm")


def _warm_life(session: Session, app: str) -> str:
    """Twice: the second warm container is the replacement of the first."""
    for _ in range(2):
        session.wait(
            f"a warm container of {app}",
            session.target.limits.cold,
            lambda: _is_warm(session, app),
            every=1.0,
        )
    return f"address after {session.facts[f'{app}: seconds to an address']} s"


def _is_warm(session: Session, app: str) -> bool:
    found = obtain(session, app)
    stop(session, found["id"])
    return bool(found["warm"])


def one_key(session: Session) -> str:
    """The same Idempotency-Key returns the same session; for another app it is a conflict."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = session.http("GET", "/session?app=cold&wait=0", headers=key)
    again = session.http("GET", "/session?app=cold&wait=0", headers=key)
    require(first.body["id"] == again.body["id"], "two sessions for one key")
    other = session.http("GET", "/session?app=warm&wait=0", headers=key)
    require(other.status == 409, f"for another app: {other.status} {other.body}")
    stop(session, first.body["id"])
    return "same session"


def limits(session: Session) -> str:
    """An app with a limit of one session refuses the second, with Retry-After."""
    first = obtain(session, "limited")
    second = session.http("GET", "/session?app=limited&wait=0")
    stop(session, first["id"])
    require(second.status == 429, f"{second.status} {second.body}")
    require(second.body["error"]["code"] == "limit_reached", str(second.body))
    require(int(second.headers.get("Retry-After", "0")) >= 1, "no Retry-After")
    return "429"


def broken_image(session: Session) -> str:
    """A container that cannot start is a 503 with the reason, and after five the breaker opens."""
    codes = []
    for _ in range(8):
        found = session.http("GET", f"/session?app=broken&wait={WAIT_SECONDS}")
        while found.status == 202:
            session.sleep(1.0)
            found = session.http("GET", f"/sessions/{found.body['id']}")
        code = (found.body.get("error") or {}).get("code") or found.body.get("reason")
        codes.append(code)
        require(code in {"failed_to_start", "app_failing"}, f"{found.status} {found.body}")
        if code == "app_failing":
            require(found.status == 503, f"{found.status} {found.body}")
            return f"503 after {len(codes) - 1} failures"
    raise BrokenPromiseError(f"the breaker never opened: {codes}")


def full_cluster(session: Session) -> str:
    """Requests beyond the capacity of the hosts wait, and are served when other sessions end."""
    taken: list[str] = []
    try:
        for _ in range(40):
            found = session.http("GET", "/session?app=bulky&wait=5")
            require(found.status in {200, 202}, f"{found.status} {found.body}")
            taken.append(found.body["id"])
            if found.status == 202 and state_of(session, taken[-1]).get("state") == "QUEUED":
                break
        else:
            raise BrokenPromiseError("forty bulky sessions did not fill the cluster")
        stop(session, taken.pop(0))
        session.wait(
            "the one that waited being served",
            session.target.limits.cold,
            lambda: "url" in state_of(session, taken[-1]),
        )
    finally:
        for session_id in taken:
            stop(session, session_id)
    return f"the {len(taken) + 1}th waited"


def upgrade_and_rollback(session: Session) -> str:
    """A new revision serves new sessions; a live one survives it, and the rollback."""
    ecs = session.target.client("ecs")
    family = f"usher-{session.target.stage}-cold"
    live = obtain(session, "cold")
    with connected(live) as websocket:
        before = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        after = ecs.register_task_definition(**_with_label(before))["taskDefinition"]
        try:
            served = session.wait(
                "a session of the new revision",
                60 + session.target.limits.cold,
                lambda: _served_by(session, int(after["revision"])),
            )
        finally:
            ecs.deregister_task_definition(taskDefinition=after["taskDefinitionArn"])
        require(served, "no session of the new revision")
        session.wait(
            "a session of the old revision again",
            60 + session.target.limits.cold,
            lambda: _served_by(session, int(before["revision"])),
        )
        websocket.ping().wait(10)
        require(state_of(session, live["id"])["state"] == "ACTIVE", "the live session ended")
    end_of(session, live["id"])
    return f"revision {before['revision']} to {after['revision']} and back"


def _with_label(definition: dict[str, Any]) -> dict[str, Any]:
    """A RegisterTaskDefinition request with one more label: another revision with the same
    content.
    """
    taken = (
        "family", "taskRoleArn", "executionRoleArn", "networkMode", "containerDefinitions",
        "volumes", "placementConstraints", "requiresCompatibilities", "cpu", "memory",
        "runtimePlatform", "ipcMode", "pidMode",
    )  # fmt: skip
    request = {name: definition[name] for name in taken if definition.get(name)}
    first, *others = request["containerDefinitions"]
    labels = {**first.get("dockerLabels", {}), "conformance": str(uuid.uuid4())}
    return {**request, "containerDefinitions": [{**first, "dockerLabels": labels}, *others]}


def _served_by(session: Session, revision: int) -> bool:
    found = obtain(session, "cold")
    stop(session, found["id"])
    return int(found["revision"]) == revision


def killed_host(session: Session) -> str:
    """A session whose host fails ends as lost, and new ones are served."""
    found = obtain(session, "cold")
    with connected(found):
        arn = session.wait("its task", 30, lambda: task_of(session, found["id"]))
        session.target.kill_a_host(arn)
        reason = end_of(session, found["id"])
    require(reason == "lost", f"it ended as {reason}")
    stop(session, obtain(session, "cold", session.target.limits.host)["id"])
    return "lost, then served"
