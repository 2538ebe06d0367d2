"""Gives a container AWS credentials with the rights of its user while the session has one.

They are neither stored nor logged: STS creates new ones for each request.
"""

import logging
from collections.abc import Callable
from typing import Any

from chalicelib.errors import ConflictError, LimitError, NotFoundError, UnavailableError
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.model import HANDED_OUT
from chalicelib.sessions.table import SessionsTable
from chalicelib.sessions.user_role import (
    DURATION_SECONDS,
    MOST_IN_A_PERIOD,
    assume_role_for,
    show_credentials,
)
from chalicelib.tasks.requests import authenticated

RETRY_AFTER_SECONDS = 5

_log = logging.getLogger("usher.sessions")


class UserCredentials:
    """Credentials for the sessions of one deployment."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        apps: AppCatalog,
        sts: Any,
        stage: str,
        now: Callable[[], float],
    ) -> None:
        """`sts`: an STS client."""
        self._table = table
        self._apps = apps
        self._sts = sts
        self._stage = stage
        self._now = now

    def give(self, session_id: str, key: str) -> dict[str, Any]:
        """New credentials for the container that has this key.

        Raises NotFoundError (no such session, or its app has no `user_role`), UnauthorizedError,
        ConflictError (it has no owner, or has ended), LimitError, UnavailableError.
        """
        session = authenticated(self._table.get(session_id), key, "session")
        app = self._apps.of(session)
        if app is None or app.user_role is None:
            raise NotFoundError("this session's app has no user_role")
        if session.state not in HANDED_OUT or session.owner is None:
            raise ConflictError(f"the session is {session.state}: it has no owner now")
        self._count(session_id)
        request = assume_role_for(session, app, self._stage)
        answer = self._assume(request, session.log_fields)
        return show_credentials(answer, request["RoleArn"])

    def _count(self, session_id: str) -> None:
        now = self._now()
        period = int(now // DURATION_SECONDS)
        key = f"credentials#{period}#{session_id}"
        if not self._table.items.count(key, MOST_IN_A_PERIOD, int(now) + 2 * DURATION_SECONDS):
            raise LimitError(
                f"at most {MOST_IN_A_PERIOD} credentials in {DURATION_SECONDS} seconds",
                retry_after_seconds=DURATION_SECONDS,
            )

    def _assume(self, request: dict[str, Any], fields: dict[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self._sts.assume_role(**request)
        except (BotoCoreError, ClientError) as error:
            _log.warning("no credentials for a session: %s", error, extra=fields)
            raise UnavailableError(
                "STS gave no credentials; the dispatcher's log says why",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            ) from error
