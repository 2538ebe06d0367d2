"""Answers about session apps. Pure."""

from collections.abc import Mapping
from typing import Any

from chalicelib.sessions.registered import RegisteredApp
from chalicelib.sessions.registry import AppStatus
from chalicelib.tasks.revisions import FAILURES_TO_OPEN, number_of

HIDDEN = "***"
"""Replaces a value that only operators may read."""
_HIDDEN = ("command", "entry_point", "feed_url", "health_check")
"""Keys, besides environment and secrets, whose values may contain a password."""


def show_app(status: AppStatus, *, values: bool) -> dict[str, Any]:
    """An app: its source, its newest revision, and the state of that revision.

    `values`: include the image and the values of environment variables; otherwise their names only.
    """
    shown: dict[str, Any] = {
        "name": status.name,
        "origin": "registered" if status.registered else "file",
        "revision": number_of(status.task_definition),
        **_state_of(status),
        "pool": {"minimum": status.app.pool.minimum, "maximum": status.app.pool.maximum},
        "maxSessions": status.app.max_sessions,
    }
    if values:
        shown |= {"image": status.image, "taskDefinition": status.task_definition}
    if status.registered is not None:
        shown["description"] = _described(status.registered.description, values=values)
    return shown


def show_containers(
    groups: Mapping[tuple[str, str, str], int], zones: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """Containers of an app, grouped by revision, state and host. `zones`: availability zones by the
    host's ARN.
    """
    return [
        {
            "revision": number_of(definition) if definition else None,
            "state": state,
            "host": host or None,
            "zone": zones.get(host),
            "count": count,
        }
        for (definition, state, host), count in sorted(groups.items())
    ]


def show_registered(registered: RegisteredApp) -> dict[str, Any]:
    """The answer to an operator's change of an app."""
    return {
        "name": registered.app.name,
        "revision": registered.revision,
        "image": registered.app.image,
        "taskDefinition": registered.task_definition,
        "pool": registered.app.pool.maximum,
    }


def app_facts(registered: RegisteredApp | None) -> dict[str, Any] | None:
    """The description of an app in an audit record. It has the names of environment variables and
    secrets, not their values.
    """
    if registered is None:
        return None
    return {
        "revision": registered.revision,
        "image": registered.app.image,
        "environment": sorted(registered.app.environment),
        "secrets": sorted(registered.app.secrets),
    }


def _state_of(status: AppStatus) -> dict[str, Any]:
    """`proven`: one of its containers became ready. `failing`: none became ready and starts failed;
    `refused` while the breaker prevents further starts. `unproven`: none became ready yet.
    """
    failing = status.state.failing.get(status.task_definition)
    if status.state.proven == status.task_definition:
        return {"state": "proven"}
    if failing is None:
        return {"state": "unproven"}
    state = "refused" if failing.count >= FAILURES_TO_OPEN else "failing"
    return {"state": state, "failures": failing.count, "reason": failing.reason}


def _described(description: Mapping[str, Any], *, values: bool) -> Mapping[str, Any]:
    if values:
        return description
    shown = {name: HIDDEN if name in _HIDDEN else value for name, value in description.items()}
    named = [name for name in ("environment", "secrets") if description.get(name)]
    return {**shown, **{name: dict.fromkeys(description[name], HIDDEN) for name in named}}
