"""From a QUEUED record to a task that ECS accepted, or to the queue of those that wait."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.apps import App
from chalicelib.config import Config
from chalicelib.contract import Env
from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.requests import TaskRequest
from chalicelib.ecs.task_definitions import CONTAINER, family_of
from chalicelib.errors import StartFailedError, UnavailableError
from chalicelib.sessions import lifecycle
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.table import SessionsTable

REVISION_CACHE_SECONDS = 10
"""How soon a new revision is noticed; DescribeTaskDefinition is not for every request."""

MAX_DELAY_SECONDS = 30
_log = logging.getLogger("usher.sessions")


@dataclass(frozen=True)
class Retry:
    """Nothing started: the record as it should be now, and when to try again."""

    session: Session
    delay_seconds: int


@dataclass(frozen=True)
class GiveUp:
    """It will not start: the record, ended."""

    session: Session


def decide_after_failure(
    session: Session, error: LaunchError, tries: int, now: float
) -> Retry | GiveUp:
    """What a failed RunTask means for the session. Pure. `tries` counts from 1.

    Only a no for certain makes a new attempt: where the answer was lost the same request is
    repeated, and its token finds the task that may be running already.
    """
    if error.failure is LaunchFailure.REFUSED:
        return GiveUp(lifecycle.end(session, Reason.FAILED_TO_START, str(error), now=now))
    certain = error.failure is LaunchFailure.CAPACITY
    waiting = replace(
        session,
        attempt=session.attempt + 1 if certain else session.attempt,
        detail=f"waiting, {error.failure}: {error}",
    )
    return Retry(waiting, delay_seconds=min(2 ** (tries - 1), MAX_DELAY_SECONDS))


def environment_for(session: Session, app: App, config: Config) -> dict[str, str]:
    """The environment of a session's container: docs/contracts.md lists what each means. Pure."""
    environment = {
        Env.SESSION_ID: session.id,
        Env.SESSION_UUID: session.uuid,
        Env.SESSION_PORT: str(app.port),
        Env.SESSION_KEY: session.key,
        Env.SESSION_APP_NAME: session.app,
        Env.SESSION_REVISION: str(session.revision),
        Env.CALLBACK_URL: session.callback_url,
        Env.FEED_URL: config.feed_url,
        Env.AWS_REGION: config.region,
        Env.CONNECT_DEADLINE_SECONDS: str(app.connect_deadline_seconds),
        Env.RECONNECT_GRACE_SECONDS: str(app.reconnect_grace_seconds),
        Env.MAX_SESSION_SECONDS: str(app.max_session_seconds),
        Env.ALLOWED_ORIGINS: config.allowed_origins,
    }
    if config.container_aws_endpoint_url:
        environment[Env.AWS_ENDPOINT_URL] = config.container_aws_endpoint_url
    if app.session_app:
        environment[Env.SESSION_APP] = app.session_app
    return {str(name): value for name, value in environment.items()}


def task_request_for(session: Session, app: App, config: Config) -> TaskRequest:
    """The task of a session; the same record always asks for the same task. Pure."""
    if session.task_definition is None:
        raise ValueError(f"session {session.id} has no task definition yet")
    return TaskRequest(
        started_by=session.started_by,
        attempt=session.attempt,
        task_definition=session.task_definition,
        container=CONTAINER,
        environment=environment_for(session, app, config),
        launch_type=app.launch_type,
    )


class LaunchQueue:
    """The SQS queue of sessions that wait for capacity; a message counts the tries of one."""

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self._name = name
        self._url: str | None = None

    def send(self, session_id: str, tries: int, delay_seconds: int) -> None:
        """Have `Launches.launch` called for this session after a delay."""
        if self._url is None:
            self._url = str(self._sqs.get_queue_url(QueueName=self._name)["QueueUrl"])
        body = json.dumps({"session": session_id, "tries": tries})
        self._sqs.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_seconds)


class Launches:
    """Launches sessions; safe to call twice for the same one, and at once from two places."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        launcher: Launcher,
        queue: LaunchQueue,
        config: Config,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._launcher = launcher
        self._queue = queue
        self._config = config
        self._now = now
        self._revisions: dict[str, tuple[str, float]] = {}

    def newest_revision(self, app: App) -> str:
        """ARN of the task definition that new sessions of `app` run on. Raises UsherError."""
        family = family_of(app.name, self._config.stage)
        cached = self._revisions.get(family)
        if cached and cached[1] > self._now():
            return cached[0]
        try:
            arn = self._launcher.newest_revision(family)
        except LaunchError as error:
            if error.failure is LaunchFailure.REFUSED:
                raise StartFailedError(f"app {app.name} is not deployed: {error}") from error
            raise UnavailableError(str(error), retry_after_seconds=1) from error
        self._revisions[family] = (arn, self._now() + REVISION_CACHE_SECONDS)
        return arn

    def launch(self, session: Session, tries: int = 1) -> Session:
        """Try to start a QUEUED session and return its record as it then is."""
        now = self._now()
        if session.state is not State.QUEUED or session.task_arn is not None:
            return session
        if now >= session.not_after:
            words = session.detail or "no capacity in time"
            return self._change(
                session, lambda s: lifecycle.fold_stop(s, Reason.QUEUE_TIMEOUT, words, now)
            )
        app = self._config.apps.get(session.app)
        if app is None:
            words = f"app {session.app} is no longer offered"
            return self._change(
                session, lambda s: lifecycle.fold_stop(s, Reason.FAILED_TO_START, words, now)
            )
        try:
            task = self._launcher.run(task_request_for(session, app, self._config))
        except LaunchError as error:
            return self._wait_or_give_up(session, error, tries)
        launched = self._change(session, lambda s: lifecycle.fold_launch(s, task, self._now()))
        if launched.task_arn != task.task_arn or not launched.is_live:
            self._launcher.stop(task.task_arn, "its session ended while it was launched")
        return launched

    def launch_queued(self, session_id: str, tries: int) -> None:
        """A message of the queue: the next try of a session, if it still waits."""
        session = self._table.get(session_id)
        if session is not None:
            self.launch(session, tries)

    def _wait_or_give_up(self, session: Session, error: LaunchError, tries: int) -> Session:
        _log.warning("session %s: not started, %s: %s", session.id, error.failure, error)
        decision = decide_after_failure(session, error, tries, self._now())
        written = self._table.replace(session, decision.session)
        if written is None:  # somebody else moved it on, so it is no longer ours to queue
            return self._table.get(session.id) or session
        if isinstance(decision, Retry):
            self._queue.send(session.id, tries + 1, decision.delay_seconds)
        return written

    def _change(self, session: Session, decide: Callable[[Session], Session]) -> Session:
        return self._table.change(session.id, decide) or session
