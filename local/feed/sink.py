"""Sinks of entries, and how the stream is found."""

import os
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from local.feed.entries import Entry
from local.leftovers import live_runs, runs_folder

THROTTLED = ("ProvisionedThroughputExceededException", "LimitExceededException")


class FeedError(Exception):
    """Feeding cannot continue; the message is one line for display."""


class Sink(Protocol):
    """The interface of sinks: Kinesis, or none in a dry run."""

    def put(self, entries: Sequence[Entry]) -> Sequence[bool]:
        """Put a batch; returns for each entry whether it was accepted. FeedError if none ever will
        be.
        """
        ...


class Nowhere:
    """Accepts and discards everything."""

    def put(self, entries: Sequence[Entry]) -> list[bool]:
        return [True] * len(entries)


class KinesisSink:
    """A Kinesis stream, through a boto3 client."""

    def __init__(self, client: Any, stream: str) -> None:
        self._client = client
        self._stream = stream

    def put(self, entries: Sequence[Entry]) -> list[bool]:
        from botocore.exceptions import BotoCoreError, ClientError

        records = [{"Data": entry.data, "PartitionKey": entry.key} for entry in entries]
        try:
            answer = self._client.put_records(StreamName=self._stream, Records=records)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in THROTTLED:
                return [False] * len(entries)
            if code == "ResourceNotFoundException":
                raise FeedError(f"there is no stream {self._stream}") from error
            raise FeedError(f"the stream refuses: {error}") from error
        except BotoCoreError as error:
            raise FeedError(f"cannot reach the stream: {error}") from error
        return ["ErrorCode" not in record for record in answer["Records"]]


def kinesis_sink(stream: str, endpoint: str) -> KinesisSink:
    """A sink for the stream; the embedded cloud takes any credentials, AWS takes real ones."""
    import boto3
    from botocore.config import Config

    local = urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if local else {}
    client = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name=find_region(endpoint),
        config=Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5),
        **credentials,
    )
    return KinesisSink(client, stream)


def find_endpoint(given: str | None) -> str:
    """The AWS endpoint: the given one, AWS_ENDPOINT_URL, or that of the youngest `local up`."""
    if found := given or os.environ.get("AWS_ENDPOINT_URL"):
        return found
    for facts in live_runs(runs_folder()):
        if "aws" in facts:
            return str(facts["aws"])
    raise FeedError("no local cloud is running: start `python -m local up`, or give --endpoint URL")


def find_region(endpoint: str) -> str:
    """The region of the `local up` with this endpoint, else that of the environment."""
    for facts in live_runs(runs_folder()):
        if facts.get("aws") == endpoint.rstrip("/"):
            return str(facts["region"])
    environ = os.environ
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
