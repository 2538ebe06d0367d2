"""One at a time launches: rounds at once would only race each other for the head of the line.

Who finds somebody at it leaves a note, and whoever is at it looks once more before it leaves. A
holder that died holds for `LEASE_SECONDS` at most; one that took longer than that has been followed
by another, which harms nothing: every claim is conditional by itself.
"""

import secrets
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.dynamodb.wire import wire

LEASE_SECONDS = 15
KEY = "turn#jobs"
LOST = "ConditionalCheckFailedException"


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
            taken = self._update(
                "SET holder = :holder, lease_until = :lease, noted = :no",
                "attribute_not_exists(lease_until) OR lease_until < :now OR holder = :holder",
                {":holder": holder, ":lease": now + LEASE_SECONDS, ":now": now, ":no": False},
            )
            if taken:
                return holder
            noted = self._update(
                "SET noted = :yes", "lease_until >= :now", {":yes": True, ":now": now}
            )
            if noted:
                return None

    def give_back(self, holder: str) -> bool:
        """Whether it is somebody else's now; False when there is a note: look once more."""
        back = {":holder": holder, ":no": False}
        if self._update(
            "SET lease_until = :none", "holder = :holder AND noted = :no", {**back, ":none": 0}
        ):
            return True
        lease = {**back, ":lease": self._now() + LEASE_SECONDS}
        return not self._update("SET noted = :no, lease_until = :lease", "holder = :holder", lease)

    def let_go(self, holder: str) -> None:
        """Give it back, whatever is noted: who looked came to grief."""
        self._update("SET lease_until = :none", "holder = :holder", {":holder": holder, ":none": 0})

    def _update(self, update: str, condition: str, values: dict[str, Any]) -> bool:
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"id": {"S": KEY}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeValues=wire(values),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == LOST:
                return False
            raise
        return True
