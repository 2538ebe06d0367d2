"""Puts records of a session app into the deployment's stream."""

import asyncio
import base64
import json
import time
from typing import Any

from chalicelib.contract.repeating import backoff_seconds
from session_handler.backoff import jitter
from session_handler.credentials import CredentialCache
from session_handler.feeds.kinesis_client import (
    UNREACHABLE,
    KinesisClient,
    KinesisError,
    endpoint_for,
)
from session_handler.settings import Settings

MAX_RECORD_BYTES = 64 * 1024
TRIES = 5
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


class PublishError(Exception):
    """The record may not be in the stream. `code` is Kinesis's or this module's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Publisher:
    """Writes to one stream, with the rights of the container's task role."""

    def __init__(self, settings: Settings) -> None:
        url = settings.feed_write_url or ""
        self._stream = url.removeprefix("kinesis://").rstrip("/")
        self._client = KinesisClient(
            endpoint_url=settings.aws_endpoint_url or endpoint_for(settings.aws_region),
            region=settings.aws_region,
            credentials=CredentialCache(settings.credentials, time.time),
            now=time.time,
        )

    async def publish(self, data: Any, partition_key: str) -> None:
        """Put one record; repeated if Kinesis throttles or does not answer, so that it may arrive
        twice. Raises PublishError; ValueError or TypeError for data that is not JSON or exceeds
        MAX_RECORD_BYTES.
        """
        text = json.dumps(
            data, separators=(",", ":"), allow_nan=False, ensure_ascii=False
        ).encode()  # invalid Unicode raises UnicodeEncodeError, a ValueError
        if len(text) > MAX_RECORD_BYTES:
            raise ValueError(f"a record has at most {MAX_RECORD_BYTES} bytes, not {len(text)}")
        parameters = {
            "StreamName": self._stream,
            "PartitionKey": partition_key,
            "Data": base64.b64encode(text).decode("ascii"),
        }
        failures = 0
        while True:
            try:
                await self._client.call("PutRecord", parameters)
            except KinesisError as error:
                failures += 1
                is_passing = error.is_throttling or error.code in {UNREACHABLE, "InternalFailure"}
                if failures == TRIES or not is_passing:
                    raise PublishError(error.code, str(error)) from error
                pause = backoff_seconds(
                    failures,
                    jitter(),
                    first_seconds=FIRST_PAUSE_SECONDS,
                    longest_seconds=LONGEST_PAUSE_SECONDS,
                )
                await asyncio.sleep(pause)
            else:
                return

    def close(self) -> None:
        self._client.close()
