"""A Python client of the dispatcher's HTTP API for jobs.

Requests are repeated after 429, 5xx and lost connections, because they are idempotent: those that
start a run have an Idempotency-Key.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from usher.answers import (
    Invocation,
    JobInfo,
    LogLine,
    LogPage,
    Schedule,
    read_invocation,
    read_job,
    read_log_page,
    read_schedule,
)
from usher.errors import UsherError, WaitTimeoutError
from usher.operations_client import OperationsClient
from usher.pages import page_size, pages, rows
from usher.transport import Patience, Transport

URL_VARIABLE = "USHER_URL"
KEY_VARIABLE = "USHER_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
FIRST_POLL_SECONDS = 0.25
MAX_POLL_SECONDS = 5.0


class Client(OperationsClient):
    """Calls to one dispatcher. Thread-safe.

    Raises AnswerError for an error answer, UnreachableError if there is no answer.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        patience: Patience | None = None,
        on_retry: Callable[[UsherError], None] = lambda _: None,
    ) -> None:
        """Without `url` and `api_key` the environment's USHER_URL and USHER_API_KEY are used.

        `on_retry` is called before each repetition of a failed request.
        """
        self.url = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
        key = api_key or os.environ.get(KEY_VARIABLE)
        self._http = Transport(self.url, key, patience or Patience(), on_retry)

    def document(self, path: str) -> dict[str, Any]:
        """The dispatcher's JSON answer to a GET."""
        return self._http.call("GET", path)

    # Jobs

    def register(self, image: str, description: Mapping[str, Any]) -> dict[str, Any]:
        """Register a job: {"name", "revision", "taskDefinition"}. Unchanged = the same revision."""
        body = {"image": image, "description": dict(description)}
        return self._http.call("PUT", f"/jobs/{_path(description['name'])}", body)

    def jobs(self) -> list[JobInfo]:
        """All registered jobs."""
        return list(map(read_job, rows(pages(self._get, "/jobs", {}), "jobs")))

    def job(self, name: str) -> JobInfo:
        return read_job(self._http.call("GET", f"/jobs/{_path(name)}"))

    def remove_job(self, name: str) -> None:
        """Deregister it. Running invocations continue."""
        self._http.call("DELETE", f"/jobs/{_path(name)}")

    # Session apps

    def register_app(self, name: str, image: str, description: Mapping[str, Any]) -> dict[str, Any]:
        """Register a session app: {"name", "revision", "pool", …}. Unchanged = the same revision.

        `description` has the keys of an [apps.NAME] table without the image.
        """
        body = {"image": image, "description": dict(description)}
        return self._http.call("PUT", f"/apps/{_path(name)}", body)

    def apps(self) -> list[dict[str, Any]]:
        """All session apps, each with name, origin, revision and state."""
        found: list[dict[str, Any]] = self._http.call("GET", "/apps")["apps"]
        return found

    def app(self, name: str) -> dict[str, Any]:
        """One session app."""
        return self._http.call("GET", f"/apps/{_path(name)}")

    def roll_back_app(self, name: str, revision: int) -> dict[str, Any]:
        """Take `revision`, the newest one, back; the answer describes the one before it.

        A repeated call does not take back a second one: it is answered 409.
        """
        return self._http.call("POST", f"/apps/{_path(name)}/rollback", {"revision": revision})

    def remove_app(self, name: str) -> None:
        """Deregister it. Running sessions continue."""
        self._http.call("DELETE", f"/apps/{_path(name)}")

    # Invocations

    def invoke(
        self,
        job: str,
        parameters: Any = None,
        *,
        at: datetime | None = None,
        not_after: datetime | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Request a run and return its id at once.

        `at`: earliest time; `not_after`: expired unless launched by then. The same
        `idempotency_key` refers to the same invocation; with other content it is an error (409). By
        default a key is generated for this call and its repetitions.
        """
        body = {
            "parameters": parameters,
            "at": _instant(at, "at"),
            "notAfter": _instant(not_after, "not_after"),
            "priority": priority,
        }
        body = {name: value for name, value in body.items() if value is not None}
        path = f"/jobs/{_path(job)}/invocations"
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else _own_key()
        return str(self._http.call("POST", path, body, headers)["id"])

    def invocation(self, invocation_id: str) -> Invocation:
        return read_invocation(self._http.call("GET", f"/invocations/{_path(invocation_id)}"))

    def invocations(
        self,
        *,
        job: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Invocation]:
        """The newest first, at most `limit`; pages are fetched as they are needed.

        They have no parameters, result and history. `status` is a state.
        """
        documents = self.invocation_documents(
            job=job, status=status, since=since, until=until, limit=limit
        )
        yield from map(read_invocation, documents)

    def invocation_documents(
        self,
        *,
        job: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        on_page: Callable[[], None] = lambda: None,
    ) -> Iterator[dict[str, Any]]:
        """The same invocations as JSON documents. `on_page` is called before each further page."""
        query = {
            "job": job,
            "status": status,
            "from": _instant(since, "since"),
            "to": _instant(until, "until"),
            "limit": page_size(limit),
        }
        found = pages(self._get, "/invocations", query, on_page=on_page)
        return rows(found, "invocations", limit)

    def wait(
        self,
        invocation_id: str,
        timeout_seconds: float | None = None,
        *,
        on_look: Callable[[Invocation], None] = lambda _: None,
    ) -> Invocation:
        """Wait until it has ended; `on_look` receives its state at each poll.

        Raises WaitTimeoutError.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = FIRST_POLL_SECONDS
        while True:
            invocation = self.invocation(invocation_id)
            if invocation.has_ended:
                return invocation
            on_look(invocation)
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeoutError(
                        f"{invocation_id} is still {invocation.state} after {timeout_seconds:g} s"
                    )
                pause = min(pause, left)
            time.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)

    def kill(self, invocation_id: str) -> Invocation:
        """End it in any state; no effect if it has ended."""
        path = f"/invocations/{_path(invocation_id)}/kill"
        return read_invocation(self._http.call("POST", path))

    def rerun(self, invocation_id: str) -> str:
        """A new invocation with the same job and parameters; its id."""
        path = f"/invocations/{_path(invocation_id)}/rerun"
        return str(self._http.call("POST", path, headers=_own_key())["id"])

    def log_page(self, invocation_id: str, token: str | None = None) -> LogPage:
        query = f"?{urlencode({'next': token})}" if token else ""
        path = f"/invocations/{_path(invocation_id)}/logs{query}"
        return read_log_page(self._http.call("GET", path))

    def logs(
        self,
        invocation_id: str,
        *,
        follow: bool = False,
        on_look: Callable[[Invocation], None] = lambda _: None,
    ) -> Iterator[LogLine]:
        """The present lines; with `follow` also later ones, until the task has ended.

        `on_look` receives the invocation whenever there was no new line.
        """
        token: str | None = None
        pause = FIRST_POLL_SECONDS
        while True:
            page = self.log_page(invocation_id, token)
            yield from page.lines
            # A page may be empty in the middle: the log ends where the token does not change.
            leads_on = page.next not in {None, token}
            if page.ended or not (leads_on or follow):
                return
            if leads_on:
                pause = FIRST_POLL_SECONDS
            else:
                invocation = self.invocation(invocation_id)
                if invocation.has_ended and invocation.task_arn is None:
                    return
                on_look(invocation)
                time.sleep(pause)
                pause = min(pause * 1.5, MAX_POLL_SECONDS)
            token = page.next or token

    # Audit records

    def audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        resource: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Audit records as in docs/contracts.md, newest first, at most `limit`.

        Operators only. Pages are fetched as they are needed.
        """
        query = {
            "who": who,
            "action": action,
            "resource": resource,
            "from": _instant(since, "since"),
            "to": _instant(until, "until"),
            "limit": page_size(limit),
        }
        return rows(pages(self._get, "/audit", query), "records", limit)

    # Schedules

    def put_schedule(self, schedule_id: str, schedule: Mapping[str, Any]) -> Schedule:
        """Make or replace a schedule; the fields are those of docs/contracts.md."""
        path = f"/schedules/{_path(schedule_id)}"
        return read_schedule(self._http.call("PUT", path, dict(schedule)))

    def schedules(self) -> list[Schedule]:
        """All of them, by id."""
        return list(map(read_schedule, self.schedule_documents()))

    def schedule_documents(self) -> Iterator[dict[str, Any]]:
        """The same schedules as JSON documents."""
        return rows(pages(self._get, "/schedules", {}), "schedules")

    def schedule(self, schedule_id: str) -> Schedule:
        return read_schedule(self._http.call("GET", f"/schedules/{_path(schedule_id)}"))

    def pause_schedule(self, schedule_id: str) -> Schedule:
        return self._schedule_verb(schedule_id, "pause")

    def resume_schedule(self, schedule_id: str) -> Schedule:
        return self._schedule_verb(schedule_id, "resume")

    def run_schedule(self, schedule_id: str) -> str:
        """Run its job now, besides its planned times; returns the invocation's id."""
        path = f"/schedules/{_path(schedule_id)}/run"
        return str(self._http.call("POST", path, headers=_own_key())["id"])

    def delete_schedule(self, schedule_id: str) -> None:
        self._http.call("DELETE", f"/schedules/{_path(schedule_id)}")

    def _schedule_verb(self, schedule_id: str, verb: str) -> Schedule:
        path = f"/schedules/{_path(schedule_id)}/{verb}"
        return read_schedule(self._http.call("POST", path))


def _own_key() -> dict[str, str]:
    """A key for one call and its repetitions."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def _path(part: str) -> str:
    return quote(str(part), safe="")


def _instant(at: datetime | None, name: str) -> str | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError(f"{name} has no time zone: say datetime.now(UTC) + …")
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
