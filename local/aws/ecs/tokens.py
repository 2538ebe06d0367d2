"""Client tokens of RunTask: the same request twice starts one set of tasks. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

from local.aws.ecs.errors import conflict, invalid_parameter

KEPT_SECONDS = 24 * 3600.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(frozen=True)
class _Use:
    fingerprint: str
    task_ids: tuple[str, ...]
    task_arns: tuple[str, ...]
    used_at: float


class ClientTokens:
    """Client tokens and the tasks that they started. Not thread-safe.

    A token is kept for 24 hours, and not longer than its tasks (an hour after the last of them
    stopped): call `forget_task` for each task that is removed.
    """

    def __init__(self) -> None:
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        self._token_of: dict[str, str] = {}
        self._remembered: dict[str, int] = {}

    def find(self, token: str, fingerprint: str, now: float) -> tuple[str, ...] | None:
        """The ids of the tasks that this very request started, or None if it is new.

        Raises InvalidParameterException for a malformed token and ConflictException, with the
        tasks' ARNs, when it came with another request.
        """
        if not _TOKEN.fullmatch(token):
            raise invalid_parameter("Invalid clientToken: 1 to 64 ASCII characters are allowed.")
        self._expire(now)
        use = self._uses.get(token)
        if use is None:
            return None
        if use.fingerprint != fingerprint:
            raise conflict(
                "The clientToken has been used before, for a request with other parameters.",
                list(use.task_arns),
            )
        return use.task_ids

    def remember(
        self, token: str, fingerprint: str, tasks: list[tuple[str, str]], now: float
    ) -> None:
        """`tasks` are the ids and ARNs of what the request started."""
        ids = tuple(task_id for task_id, _ in tasks)
        self._uses[token] = _Use(fingerprint, ids, tuple(arn for _, arn in tasks), now)
        self._remembered[token] = len(ids)
        self._token_of |= dict.fromkeys(ids, token)

    def forget_task(self, task_id: str) -> None:
        token = self._token_of.pop(task_id, None)
        if token is None:
            return
        self._remembered[token] -= 1
        if not self._remembered[token]:
            del self._uses[token], self._remembered[token]

    def _expire(self, now: float) -> None:
        while self._uses:
            token, use = next(iter(self._uses.items()))
            if now - use.used_at < KEPT_SECONDS:
                return
            del self._uses[token], self._remembered[token]
            for task_id in use.task_ids:
                self._token_of.pop(task_id, None)
