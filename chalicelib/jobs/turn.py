"""One at a time launches: rounds at once would only race each other for the head of the line.

Who finds somebody at it leaves a note, and whoever is at it looks once more before it leaves. A
holder that died holds for `LEASE_SECONDS` at most; one that took longer than that has been followed
by another, which harms nothing: every claim is conditional by itself.
"""

import secrets
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.dynamodb.expressions import Attr, Condition, expressions

LEASE_SECONDS = 15
KEY = "turn#jobs"
LOST = "ConditionalCheckFailedException"
HOLDER, LEASE_UNTIL, NOTED = Attr("holder"), Attr("lease_until"), Attr("noted")


class Turn:
    """The right to launch, kept in the table of jobs."""

    def __init__(self, dynamodb: Any, table: str, now: Callable[[], float]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._now = now

    def take(self) -> str | None:
        """What to give the turn back with; None while somebody else is at it, and has a note."""
        holder = secrets.token_hex(8)
        while True:
            now = self._now()
            # One further ahead than a lease can be was written by a clock that was wrong.
            over = LEASE_UNTIL.lt(now) | LEASE_UNTIL.gt(now + LEASE_SECONDS)
            free = LEASE_UNTIL.not_exists() | over | HOLDER.eq(holder)
            lease = {"holder": holder, "lease_until": now + LEASE_SECONDS, "noted": False}
            if self._update(lease, free):
                return holder
            if self._update({"noted": True}, LEASE_UNTIL.gte(now)):
                return None

    def give_back(self, holder: str) -> bool:
        """Whether it is somebody else's now; False when there is a note: look once more."""
        if self._update({"lease_until": 0}, HOLDER.eq(holder) & NOTED.eq(False)):
            return True
        lease = {"noted": False, "lease_until": self._now() + LEASE_SECONDS}
        return not self._update(lease, HOLDER.eq(holder))

    def let_go(self, holder: str) -> None:
        """Give it back, whatever is noted: who looked came to grief."""
        self._update({"lease_until": 0}, HOLDER.eq(holder))

    def _update(self, values: dict[str, Any], condition: Condition) -> bool:
        """Set these attributes on condition; False where it does not hold."""
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"id": {"S": KEY}},
                **expressions(set_values=values, condition=condition),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == LOST:
                return False
            raise
        return True
