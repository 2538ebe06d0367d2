"""Answers about jobs and invocations. Pure. No answer contains a container's key."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.answer_size import fitting
from chalicelib.instants import instant
from chalicelib.jobs.description import DeployedJob
from chalicelib.jobs.model import Invocation, State, UnreadableJson

HIDDEN = "***"
"""Replaces a value that only operators may read."""


def show_job(job: DeployedJob, *, values: bool) -> dict[str, Any]:
    """A deployed job: its description, revision and image.

    `values`: include the values of its environment variables, which may be secrets; otherwise their
    names only.
    """
    shown = job.description.to_json() | {"revision": job.revision, "image": job.image}
    if not values:
        hidden = [name for name in ("environment", "secrets") if shown.get(name)]
        shown |= {name: dict.fromkeys(shown[name], HIDDEN) for name in hidden}
    return shown


def show_jobs(found: Sequence[DeployedJob], after: str | None, *, values: bool) -> dict[str, Any]:
    """A page of jobs, at most as many as one answer can have. `after`: where the next page begins
    if all of them fit.
    """
    shown = [show_job(job, values=values) for job in found]
    number = fitting(shown)
    after = after if number == len(shown) else found[number - 1].description.name
    return {"jobs": shown[:number], "next": after}


def show_row(invocation: Invocation) -> dict[str, Any]:
    """The row of an invocation in a listing: without fields that may be large."""
    return {
        "id": invocation.id,
        "job": invocation.job,
        "revision": invocation.revision,
        "owner": invocation.owner,
        "priority": invocation.priority.value,
        "state": invocation.state.value,
        "reason": invocation.reason,
        "detail": invocation.detail,
        "attempt": invocation.attempt,
        "createdAt": instant(invocation.created_at),
        "at": instant(invocation.at),
        "notAfter": instant(invocation.not_after),
        "queuedAt": instant(invocation.queued_at),
        "startedAt": instant(invocation.started_at),
        "finishedAt": instant(invocation.finished_at),
        "exitCode": invocation.exit_code,
        "progress": _progress(invocation),
        "usage": _usage(invocation),
        "schedule": invocation.schedule_id,
        "plannedAt": instant(invocation.planned_at),
        "rerunOf": invocation.rerun_of,
        "taskArn": invocation.task_arn,
    }


def show_invocation(invocation: Invocation, waiting: Mapping[str, Any] | None) -> dict[str, Any]:
    """All fields of an invocation. `waiting`: the reason why it is not launched, if it waits."""
    return show_row(invocation) | {
        "parameters": shown_json(invocation.parameters),
        "result": shown_json(invocation.result),
        "waiting": waiting,
        "history": [
            {"at": instant(change.at), "state": change.state.value, "cause": change.cause}
            for change in invocation.history
        ],
    }


def facts_of(invocation: Invocation) -> dict[str, Any]:
    """The fields of an invocation in an audit record: neither parameters nor result."""
    facts = {
        "job": invocation.job,
        "owner": invocation.owner,
        "priority": invocation.priority.value,
        "state": invocation.state.value,
        "at": instant(invocation.at),
        "schedule": invocation.schedule_id,
        "rerunOf": invocation.rerun_of,
    }
    return {name: value for name, value in facts.items() if value is not None}


def job_facts(job: DeployedJob | None) -> dict[str, Any] | None:
    """The description of a job in an audit record. It has the names of environment variables and
    secrets, not their values.
    """
    if job is None:
        return None
    described = job.description.to_json()
    return {
        "revision": job.revision,
        "image": job.image,
        "environment": sorted(described.get("environment") or ()),
        "secrets": sorted(described.get("secrets") or ()),
    }


def shown_json(value: Any) -> Any:
    """A stored value, or a note in place of one that cannot be shown."""
    if isinstance(value, UnreadableJson):
        return {"unreadable": f"{len(value.text)} characters of JSON, nested too deeply"}
    return value


def why_it_waits(
    invocation: Invocation,
    *,
    ahead: int,
    estimate_seconds: int | None,
    running: int,
    most: int | None,
    owner_running: int = 0,
    owner_most: int | None = None,
) -> dict[str, Any] | None:
    """The reason why an invocation is not launched: `ahead` invocations precede it, which takes
    about `estimate_seconds`; `running` of `most` places are taken, `owner_running` of its owner's
    `owner_most`.
    """
    if invocation.state is State.SCHEDULED:
        because = f"its time comes at {instant(invocation.at)}"
    elif not invocation.is_waiting:
        return None
    elif owner_most is not None and owner_running >= owner_most:
        because = f"{owner_running} of its owner run, and no more than {owner_most} may at once"
    elif invocation.detail is not None:
        because = invocation.detail
    elif most is not None and running >= most:
        because = f"{running} run, and no more than {most} of this priority may at once"
    else:
        because = f"{ahead} go first" if ahead else "its turn is now"
    return {
        "because": because,
        "ahead": ahead,
        "estimateSeconds": estimate_seconds if invocation.is_waiting else None,
        "nextTryAt": instant(invocation.next_try_at),
    }


def _progress(invocation: Invocation) -> dict[str, Any] | None:
    progress = invocation.progress
    if progress is None:
        return None
    return {"at": instant(progress.at), "fraction": progress.fraction, "message": progress.message}


def _usage(invocation: Invocation) -> dict[str, Any] | None:
    usage = invocation.usage
    if usage is None:
        return None
    return {
        "cpuSeconds": usage.cpu_seconds,
        "maxMemoryMib": usage.max_memory_mib,
        "wallSeconds": usage.wall_seconds,
    }
