"""Launches QUEUED sessions as ECS tasks, or queues those that have to wait."""

import logging
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from chalicelib.apps import App
from chalicelib.capacity.starter import TaskStarter
from chalicelib.config import Config
from chalicelib.contract import Env
from chalicelib.dynamodb.records import Unreadable
from chalicelib.ecs.failures import FINAL, LaunchError, LaunchFailure, backoff_seconds
from chalicelib.ecs.requests import PluginPlacement, TaskRequest, run_task_for
from chalicelib.ecs.task_definitions import CONTAINER, family_of
from chalicelib.errors import UsherError
from chalicelib.metrics import Metrics
from chalicelib.sessions import lifecycle
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.group_queue import GroupQueue
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.table import SessionsTable
from chalicelib.tags import cost_tags
from chalicelib.tasks import queues
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.hosts_wanted import SESSIONS, HostsWanted
from chalicelib.tasks.start_rate import StartRate
from chalicelib.tasks.stops import TaskStops
from chalicelib.tasks.store import Store
from chalicelib.tasks.unreadable import log_unreadable

POOL_PART = 4
"""Sessions for pools may use one in this many of the places for tasks that wait at ECS."""
STARTS_PER_SECOND = 30
"""Limit for starts that can wait. ECS accepts 40 starts and stops a second in total."""
LEAST_SPREAD_SECONDS = 3
MAX_PAUSE_SECONDS = 30
"""Shorter than RELAUNCH_SECONDS (45), after which the sweep regards a session as forgotten."""
_log = logging.getLogger("usher.sessions")


@dataclass(frozen=True)
class Retry:
    """Nothing was started: the record to write, and the delay of the next attempt."""

    session: Session
    delay_seconds: int


@dataclass(frozen=True)
class GiveUp:
    """The session cannot be started: its record, ended."""

    session: Session


def decide_after_failure(
    session: Session, error: LaunchError, *, tries: int, waiting: int, now: float
) -> Retry | GiveUp:
    """Decide about a session after a failed RunTask. Pure.

    `tries` counts from 1, `waiting` is the approximate number of sessions that wait already.

    A new attempt is made only if ECS certainly started nothing. If the answer was lost, the same
    request is repeated, and its client token finds a task that may be running. A session for the
    pool does not queue for capacity.
    """
    detail = error.public_message
    if error.failure in FINAL:
        impossible = error.failure is LaunchFailure.INVALID
        refused = replace(session, is_impossible=impossible, detail=None)
        return GiveUp(lifecycle.end(refused, Reason.FAILED_TO_START, detail, now=now))
    certain = error.failure is LaunchFailure.CAPACITY
    if certain and session.owner is None:
        return GiveUp(lifecycle.end(session, Reason.QUEUE_TIMEOUT, detail, now=now))
    delay_seconds = max(backoff_seconds(tries), error.pause_seconds)
    queued = replace(
        session,
        attempt=session.attempt + 1 if certain else session.attempt,
        detail=f"waiting, {error.failure}: {detail}",
        queue_position=session.queue_position or waiting + 1,
        retry_after_seconds=delay_seconds,
        tried_at=now,
    )
    return Retry(queued, delay_seconds)


def pause_seconds(session_id: str, waiting: int, now: float) -> int:
    """Seconds until the next try of a session that exceeded the start rate, 1 to MAX_PAUSE_SECONDS.
    Pure.

    The pauses of `waiting` sessions are spread over the time that their starts take, so that about
    twice as many sessions try in a second as may start, however many wait. Each try costs a Lambda
    invocation and a write to one shared item.
    """
    spread = min(MAX_PAUSE_SECONDS, max(LEAST_SPREAD_SECONDS, waiting // STARTS_PER_SECOND))
    return 1 + zlib.crc32(f"{session_id} {int(now)}".encode()) % spread


def environment_for(session: Session, app: App, config: Config) -> dict[str, str]:
    """The environment variables of a session's container; docs/contracts.md describes each. Pure.

    A container for the pool waits for its claim first, then for its client.
    """
    idle_seconds = app.pool.max_age_seconds if session.pooled else 0
    environment = {
        Env.SESSION_ID: session.id,
        Env.SESSION_UUID: session.uuid,
        Env.SESSION_PORT: str(app.port),
        Env.SESSION_KEY: session.key,
        Env.SESSION_APP_NAME: session.app,
        Env.SESSION_REVISION: str(session.revision),
        Env.CALLBACK_URL: session.callback_url,
        Env.FEED_URL: app.feed_url_or(config.feed_url),
        Env.AWS_REGION: config.region,
        Env.CONNECT_DEADLINE_SECONDS: str(idle_seconds + app.connect_deadline_seconds),
        Env.RECONNECT_GRACE_SECONDS: str(app.reconnect_grace_seconds),
        Env.MAX_SESSION_SECONDS: str(idle_seconds + app.max_session_seconds),
        Env.ALLOWED_ORIGINS: config.allowed_origins,
    }
    if config.container_aws_endpoint_url:
        environment[Env.AWS_ENDPOINT_URL] = config.container_aws_endpoint_url
    if config.traces_endpoint:
        environment[Env.TRACES_ENDPOINT] = config.traces_endpoint
    if app.user_role:
        environment[Env.CREDENTIALS_URL] = (
            session.callback_url.removesuffix("/events") + "/credentials"
        )
    if app.writes_feed:
        environment[Env.FEED_WRITE_URL] = f"kinesis://{config.stream}"
    if app.session_app:
        environment[Env.SESSION_APP] = app.session_app
    return {str(name): value for name, value in environment.items()}


def task_request_for(session: Session, app: App, config: Config) -> TaskRequest:
    """The RunTask request of a session; equal for equal records. Pure."""
    if session.task_definition is None:
        raise ValueError(f"session {session.id} has no task definition yet")
    plugin = app.placement.plugin
    return TaskRequest(
        started_by=session.started_by,
        attempt=session.attempt,
        task_definition=session.task_definition,
        container=CONTAINER,
        environment=environment_for(session, app, config),
        launch_type=app.launch_type,
        capacity_provider=config.capacity_provider if app.launch_type == "EC2" else None,
        subnets=app.subnets or config.task_subnets if app.network_mode == "awsvpc" else (),
        security_groups=app.security_groups or config.task_security_groups
        if app.network_mode == "awsvpc"
        else (),
        spread=app.placement.fields(),
        binpack=app.placement.binpack,
        constraints=app.placement.expressions(config.stage),
        plugin=PluginPlacement(plugin, app.name, app.cpu, app.memory) if plugin else None,
        # A container for the pool has no owner when it starts, and repeated requests must be
        # identical.
        tags=cost_tags(
            app=session.app, group=app.group, owner=None if session.pooled else session.owner
        ),
    )


class Launches:
    """Launches sessions. Repeated and concurrent calls for the same session are safe."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        records: Store[Session],
        starter: TaskStarter,
        stops: TaskStops,
        queue: LaunchQueue,
        revisions: Revisions,
        rate: StartRate,
        group_queue: GroupQueue,
        hosts_wanted: HostsWanted,
        apps: AppCatalog,
        config: Config,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._records = records
        self._starter = starter
        self._stops = stops
        self._queue = queue
        self._revisions = revisions
        self._rate = rate
        self._group_queue = group_queue
        self._hosts_wanted = hosts_wanted
        self._apps = apps
        self._config = config
        self._metrics = metrics
        self._now = now

    def launch(self, session: Session, tries: int = 1) -> Session:
        """Try to start a QUEUED session and return its record after that."""
        if session.state is not State.QUEUED or session.task_arn is not None:
            return session
        if self._now() >= session.not_after:
            return self.expire(session)
        if session.waits_for_group:
            return self._group_queue.start_in_turn(session, tries, self)
        return self._launch(session, tries)

    def _launch(self, session: Session, tries: int) -> Session:
        app = self._apps.of(session)
        if app is None:
            detail = f"app {session.app} is no longer offered"
            return self._end(session, Reason.FAILED_TO_START, detail)
        try:
            self._check_waiting(session, app)
            task = self._starter.run(
                run_task_for(task_request_for(session, app, self._config), self._config.cluster)
            )
        except LaunchError as error:
            moved = self._on_another_revision(session, error, app)
            if moved is not None:
                return self.launch(moved, tries)
            return self._wait_or_give_up(session, error, tries)
        waits_for_instance = task.waits_for_host and app.launch_type == "EC2"
        waiting = 0
        if waits_for_instance:
            waiting = self._hosts_wanted.add(SESSIONS, session.id, session.attempt)

        def accepted(before: Session) -> Session:
            after = lifecycle.fold_launch(before, task, self._now())
            place = before.queue_position or max(1, waiting)
            return replace(after, queue_position=place) if after.waits_for_host else after

        launched = self._records.update(session, accepted)
        self._check_again(launched, task.task_arn, tries)
        if waiting and not launched.waits_for_host:  # an event with its host was handled first
            self._hosts_wanted.remove(SESSIONS, session.id, session.attempt)
        if not launched.has_claim_to(task.task_arn):
            why = "its session ended while it was launched"
            self._stops.stop(task.task_arn, why, launched.log_fields)
        return launched

    def _check_waiting(self, session: Session, app: App) -> None:
        """Raises LaunchError with CAPACITY if as many tasks wait at ECS as are allowed.

        Further sessions wait in the table, in order. Pools may use a part of the places. Sessions
        that a placement plug-in places never wait at ECS.
        """
        may_wait = app.launch_type == "EC2" and app.placement.plugin is None
        if self._config.capacity_provider is None or not may_wait:
            return
        most = self._config.waiting_sessions
        if session.owner is None:
            most = min(most // POOL_PART, most)
        if self._hosts_wanted.count(SESSIONS) >= most:
            raise LaunchError(LaunchFailure.CAPACITY, f"{most} tasks wait for hosts already")

    def _check_again(self, session: Session, task_arn: str | None, tries: int) -> None:
        """Send a message for the deadline of a session that waits at ECS with this task."""
        if not session.waits_for_host or session.task_arn != task_arn:
            return
        left = max(1, math.ceil(session.not_after - self._now()))
        self._queue.launch(session.id, tries, min(left, queues.MAX_DELAY_SECONDS))

    def expire(self, session: Session) -> Session:
        """End a session that waits for a host if its deadline has passed, and stop its task."""
        now = self._now()
        after = self._records.update(session, lambda before: lifecycle.expire(before, now))
        if after.state is State.STOPPING and after.ready_at is None:
            self._stops.stop(after.task_arn, "no host in time", after.log_fields)
        return after

    def start_waiting(self, group: str) -> None:
        """Start sessions that wait in a capacity group, in their order, while the group has
        capacity.
        """
        self._group_queue.start_waiting(group, self)

    def start_for_pool(self, draft: Session, app: App) -> Session | None:
        """Record and start a session for the pool; None if its group has no capacity for it, or if
        a request waits there.
        """
        counted = self._group_queue.insert_for_pool(draft, app)
        return None if counted is None else self.launch(counted)

    def try_again(self, session: Session) -> None:
        """Make the next attempt, after ECS stopped the task for lack of capacity."""
        self._queue.launch(session.id, 1, session.retry_after_seconds or 1)

    def _on_another_revision(
        self, session: Session, error: LaunchError, app: App
    ) -> Session | None:
        """Move the session to the newest revision if its own was deregistered.

        Only if ECS certainly started nothing; None where there is no other request to make.
        """
        if error.failure not in FINAL:
            return None
        try:
            family = family_of(app.family_name, self._config.stage)
            newest = self._revisions.newest(family, fresh=True)
        except UsherError:
            return None
        if newest == session.task_definition:
            return None

        def decide(before: Session) -> Session:
            if before.state is not State.QUEUED or before.attempt != session.attempt:
                return before
            return replace(before, task_definition=newest, attempt=before.attempt + 1)

        return self._records.update(session, decide)

    def launch_later(self, session_id: str, tries: int) -> None:
        """Handle a message of the queue: try to launch the session if it still waits."""
        session = self._table.find(session_id)
        if isinstance(session, Unreadable):  # the sweep launches it when it can be read again
            log_unreadable(session, "session")
        elif session is not None and not self._launch_waiting(session, tries):
            waiting, now = self._queue.waiting(), self._now()
            self._queue.launch(session_id, tries, pause_seconds(session.id, waiting, now))

    def relaunch(self, session_id: str) -> None:
        """Try to launch a session whose message was lost.

        A new message is sent only by this try; otherwise each sweep would add one.
        """
        session = self._table.get(session_id)
        if session is not None:
            self._launch_waiting(session, tries=1)

    def _launch_waiting(self, session: Session, tries: int) -> bool:
        """Launch the session if it still waits; False if the start rate of this second is used
        up.
        """
        if session.waits_for_host:
            if self._now() >= session.not_after:
                self.expire(session)
            else:
                self._check_again(session, session.task_arn, tries)
        elif session.state is State.QUEUED:
            if self._now() < session.not_after and not self.may_start():
                return False
            self.launch(session, tries)
        return True

    def may_start(self) -> bool:
        """Whether a start that can wait fits into the start rate of this second. Counts it if
        so.
        """
        return self._rate.may_start(STARTS_PER_SECOND)

    def _wait_or_give_up(self, session: Session, error: LaunchError, tries: int) -> Session:
        _log.warning(
            "not started: %s",
            error,
            extra={"session": session.id, "app": session.app, "failure": error.failure},
        )
        self._metrics.count("launch_failures", app=session.app, failure=error.failure.value)
        now, decided = self._now(), False
        waiting = self._queue.waiting() if tries == 1 else 0  # includes those that wait at ECS

        def decide(before: Session) -> Session:
            nonlocal decided
            decided = before.state is State.QUEUED and before.attempt == session.attempt
            if not decided:  # another process changed its state
                return before
            return decide_after_failure(
                before, error, tries=tries, waiting=waiting, now=now
            ).session

        after = self._records.update(session, decide)
        if decided and after.state is State.QUEUED:
            self._queue.launch(session.id, tries + 1, after.retry_after_seconds or 1)
        return after

    def _end(self, session: Session, reason: Reason, detail: str) -> Session:
        """End a session that waits. A session that was launched meanwhile continues."""
        now = self._now()

        def decide(before: Session) -> Session:
            if before.state is not State.QUEUED:
                return before
            return lifecycle.end(before, reason, detail, now=now)

        return self._records.update(session, decide)
