"""Creates session records. Random values are parameters."""

from collections.abc import Mapping

from chalicelib.apps import App
from chalicelib.capacity.groups import Amount, container
from chalicelib.environment import Ids
from chalicelib.sessions.model import Session


def container_of(app: App) -> Amount:
    """The capacity that one container of an app uses in its group."""
    return container(app.cpu, app.memory)


def turns_of(group: str | None) -> str:
    """The name of the queue of turns for sessions that wait in a capacity group."""
    return f"sessions/{group}"


def new_session(
    ids: Ids,
    *,
    app_name: str,
    owner: str | None,
    callback_base_url: str,
    task_definition: str,
    now: float,
    queue_seconds: float,
    claims: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    traceparent: str | None = None,
) -> Session:
    """A QUEUED session of `owner`, or for the pool where there is none yet."""
    session_id = ids.uuid()
    return Session(
        id=session_id,
        uuid=ids.uuid(),
        key=ids.key(),
        app=app_name,
        owner=owner,
        pooled=owner is None,
        callback_url=f"{callback_base_url}/sessions/{session_id}/events",
        created_at=now,
        not_after=now + queue_seconds,
        task_definition=task_definition,
        claims=claims,
        query=query,
        traceparent=traceparent,
    )
