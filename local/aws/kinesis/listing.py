"""Descriptions and lists of streams and shards. Pure."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.aws.kinesis.errors import KinesisError, invalid
from local.aws.kinesis.model import Shard, Stream, millis_of

Parameters = Mapping[str, Any]

MAX_SHARDS_LISTED = 1000
MAX_SHARDS_DESCRIBED = 100


def describe_stream(
    stream: Stream, arn: str, shards: Sequence[Shard], asked: Parameters
) -> dict[str, Any]:
    """The answer of DescribeStream."""
    after = asked.get("ExclusiveStartShardId", "")
    rest = [shard for shard in shards if shard.shard_id > after]
    shown = rest[: asked.get("Limit", MAX_SHARDS_DESCRIBED)]
    return {
        "StreamDescription": {
            **_common(stream, arn),
            "Shards": [shard.describe() for shard in shown],
            "HasMoreShards": len(shown) < len(rest),
        }
    }


def describe_summary(stream: Stream, arn: str) -> dict[str, Any]:
    """The answer of DescribeStreamSummary."""
    return {
        "StreamDescriptionSummary": {
            **_common(stream, arn),
            "OpenShardCount": len(stream.open_shards),
            "ConsumerCount": len(stream.consumers),
        }
    }


def _common(stream: Stream, arn: str) -> dict[str, Any]:
    return {
        "StreamName": stream.name,
        "StreamARN": arn,
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": stream.mode},
        "RetentionPeriodHours": stream.retention_hours,
        "StreamCreationTimestamp": stream.created_at,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }


def list_shards(name: str, shards: Sequence[Shard], asked: Parameters) -> dict[str, Any]:
    """The answer of ListShards; `read_token` said which stream is meant. Raises KinesisError."""
    after = asked.get("ExclusiveStartShardId", "")
    rule = asked.get("ShardFilter")
    if "NextToken" in asked:
        _, after, rule = read_token(asked["NextToken"])
    chosen = [s for s in shards if s.shard_id > after and _filter(rule)(s)]
    shown = chosen[: asked.get("MaxResults", MAX_SHARDS_LISTED)]
    answer: dict[str, Any] = {"Shards": [shard.describe() for shard in shown]}
    if len(shown) < len(chosen):
        token = json.dumps([name, shown[-1].shard_id, rule]).encode()
        answer["NextToken"] = base64.urlsafe_b64encode(token).decode()
    return answer


def read_token(token: str) -> tuple[str, str, Any]:
    """Stream, last shard and filter of a NextToken of ListShards. Raises KinesisError."""
    try:
        name, after, rule = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise KinesisError("ExpiredNextTokenException", "NextToken is invalid.") from None
    return name, after, rule


def _filter(rule: Parameters | None) -> Callable[[Shard], bool]:
    if not rule:
        return lambda _: True
    instant = millis_of(rule.get("Timestamp", 0.0))

    def ends_later(shard: Shard) -> bool:
        return shard.closed_at is None or millis_of(shard.closed_at) >= instant

    filters: dict[str, Callable[[Shard], bool]] = {
        "AFTER_SHARD_ID": lambda s: s.shard_id > rule.get("ShardId", ""),
        "AT_TRIM_HORIZON": lambda s: not s.parents,
        "FROM_TRIM_HORIZON": lambda _: True,
        "AT_LATEST": lambda s: s.is_open,
        "AT_TIMESTAMP": lambda s: millis_of(s.created_at) <= instant and ends_later(s),
        "FROM_TIMESTAMP": ends_later,
    }
    if rule.get("Type") not in filters:
        raise invalid(f"ShardFilter {rule} is not one of {', '.join(filters)}.")
    return filters[rule["Type"]]
