"""DynamoDB's time to live: deletes expired items of all tables.

AWS takes up to days, so nothing may depend on it; here it runs twice a minute.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PERIOD_SECONDS = 30.0

log = logging.getLogger(__name__)


def delete_expired(dynamodb: Any, now: float) -> int:
    """Delete what expired before `now` (seconds since 1970) in all tables; how many items."""
    deleted = 0
    for page in dynamodb.get_paginator("list_tables").paginate():
        for table in page["TableNames"]:
            answer = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
            if answer["TimeToLiveStatus"] == "ENABLED":
                deleted += _delete_from(dynamodb, table, answer["AttributeName"], now)
    return deleted


def _delete_from(dynamodb: Any, table: str, attribute: str, now: float) -> int:
    description = dynamodb.describe_table(TableName=table)["Table"]
    keys = [key["AttributeName"] for key in description["KeySchema"]]
    expired = {
        "ExpressionAttributeNames": {"#expires": attribute},
        "ExpressionAttributeValues": {":now": {"N": str(int(now))}},
    }
    deleted = 0
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, FilterExpression="#expires < :now", **expired
    )
    for page in pages:
        for item in page["Items"]:
            try:
                dynamodb.delete_item(
                    TableName=table,
                    Key={key: item[key] for key in keys},
                    ConditionExpression="#expires < :now",
                    **expired,
                )
                deleted += 1
            except dynamodb.exceptions.ConditionalCheckFailedException:
                continue  # its time was put off meanwhile
    return deleted


class Expiry:
    """A thread that deletes what expired, every PERIOD_SECONDS."""

    def __init__(self, dynamodb: Callable[[], Any]) -> None:
        self._dynamodb = dynamodb
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)

    def start(self) -> None:
        """Delete from now on."""
        self._thread.start()

    def close(self) -> None:
        """Delete nothing more."""
        self._closed.set()

    def _run(self) -> None:
        dynamodb = self._dynamodb()
        while not self._closed.wait(PERIOD_SECONDS):
            try:
                delete_expired(dynamodb, time.time())
            except (BotoCoreError, ClientError) as error:
                log.warning("expiry: %s", error)
