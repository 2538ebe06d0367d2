"""Shortcuts through moto, through the seams that it offers. They change no answer.

- `method_names_from_class` inspects a handler class anew for each call; here once for each class.
  The same for the name of each action.
- The id of an answer is drawn at once, not letter by letter.
- DynamoDB's answers are nested `{"S": "…"}`, of a shape with ten members. moto makes plain values
  of its own ones first and then looks for each of the ten under up to eight aliases, which takes
  three quarters of a GetItem. Here an item is written at once as it goes over the wire, and the
  serializer lets that pass.
- SQS waits inside moto for up to 20 seconds, so no lock may be held around it. Here the queues
  wait on the very lock that guards them, which is released meanwhile.
- botocore's and moto's descriptions of services are read once, not by each session anew.
- A deleted message is forgotten, and its receipt handles are when 200 others are newer.
- Tables: see `local.aws.dynamodb.tables`. Update expressions: `local.aws.moto.update_expressions`.
"""

import base64
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partial
from itertools import islice
from string import ascii_letters, digits
from threading import Condition, RLock
from typing import Any

from botocore import session as botocore_session
from moto.core import responses
from moto.core import utils as moto_utils
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.dynamodb import responses as dynamodb
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.utilities import dynamo_to_dict
from moto.moto_api._internal.moto_random import MotoRandom
from moto.sqs import models as sqs

from local.aws.dynamodb import tables as moto_tables
from local.aws.moto import update_expressions

QUEUE_LOCK = RLock()
"""The lock for each call of SQS; released while the call waits for messages."""

DELETED_KEPT = 200
"""Receipt handles of deleted messages that a queue knows."""

_SHAPE = "AttributeValue"


class Written(dict[str, Any]):
    """A value, or the attributes of an item, as they go over the wire."""


class AttributeValues(JSONSerializer):  # type: ignore[misc]
    """Writes DynamoDB's answers.

    A plain dict whose keys all are members of its shape cannot hold anything under an alias.
    """

    def _serialize_type_map(self, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if type(value) is Written:
            self._default_serialize(serialized, value, shape, key)
        else:
            super()._serialize_type_map(serialized, value, shape, key)

    def _serialize_type_structure(self, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if type(value) is Written:
            self._default_serialize(serialized, value, shape, key)
            return
        if not (shape.name == _SHAPE and key and type(value) is dict):
            super()._serialize_type_structure(serialized, value, shape, key)
            return
        members = shape.members
        if not value.keys() <= members.keys():
            super()._serialize_type_structure(serialized, value, shape, key)
            return
        wrapper = self.MAP_TYPE()
        for name, content in value.items():
            if content is not None:
                self._serialize(wrapper, content, members[name], name)
        self._default_serialize(serialized, wrapper, shape, key)


def write_values(result: Any) -> Any:
    """The result, with each of moto's own values in its serialized form."""
    kind = type(result)
    if kind is dict:
        return {name: write_values(value) for name, value in result.items()}
    if kind is list:
        return [write_values(value) for value in result]
    if kind is DynamoType:
        return Written(_write(result))
    if kind is LimitedSizeDict and all(type(value) is DynamoType for value in result.values()):
        return Written({name: _write(value) for name, value in result.items()})
    return dynamo_to_dict(result)


def _write(typed: DynamoType) -> dict[str, Any]:
    value = typed.value
    match typed.type:
        case "L":
            value = [_write(inner) for inner in value]
        case "M":
            value = {name: _write(inner) for name, inner in value.items()}
        case "B":
            value = _binary(value)
        case "BS":
            value = [_binary(inner) for inner in value]
    return {typed.type: value}


def _binary(value: str | bytes) -> str:
    """A binary value as base64: moto stores base64 after a request, and bytes after a
    projection.
    """
    plain = base64.b64decode(value) if isinstance(value, str) else value
    return base64.b64encode(plain).decode()


def _new_message(cls: type[Any], *_arguments: Any, **_settings: Any) -> Any:
    """Without moto's list of all messages, which nothing reads or empties."""
    return object.__new__(cls)


class Receipts:
    """Receipt handles of deleted messages, the newest DELETED_KEPT: a message may be deleted twice.

    In the place of moto's set, which keeps the handles of all messages ever deleted.
    """

    def __init__(self) -> None:
        self._kept: dict[str, None] = {}

    def update(self, handles: Iterable[str]) -> None:
        self._kept |= dict.fromkeys(handles)
        for oldest in list(islice(self._kept, max(0, len(self._kept) - DELETED_KEPT))):
            del self._kept[oldest]

    def __contains__(self, handle: str) -> bool:
        return handle in self._kept

    def __len__(self) -> int:
        return len(self._kept)


def _make_queue_as(make: Callable[..., None]) -> Callable[..., None]:
    def make_queue(queue: Any, *arguments: Any, **settings: Any) -> None:
        make(queue, *arguments, **settings)
        queue.deleted_messages = Receipts()

    return make_queue


def _random_string(
    random: MotoRandom,
    length: int = 20,
    include_digits: bool = True,
    lower_case: bool = False,
) -> str:
    pool = ascii_letters + digits if include_digits else ascii_letters
    drawn = "".join(random.choices(pool, k=length))
    return drawn.lower() if lower_case else drawn


def take() -> None:
    """Install the shortcuts in the process. Idempotent."""
    if dynamodb.dynamo_to_dict is write_values:
        return
    botocore_session.create_loader = cache(botocore_session.create_loader)
    moto_utils.create_loader = cache(moto_utils.create_loader)
    responses.camelcase_to_underscores = lru_cache(4096)(responses.camelcase_to_underscores)
    MotoRandom.get_random_string = _random_string
    responses.method_names_from_class = cache(responses.method_names_from_class)
    SERVICE_SPECIFIC_SERIALIZERS.setdefault("dynamodb", {})["json"] = AttributeValues
    dynamodb.dynamo_to_dict = write_values
    dynamodb.DynamoHandler.use_raw_body = True
    sqs.Condition = partial(Condition, QUEUE_LOCK)
    sqs.Message.__new__ = _new_message
    sqs.Queue.__init__ = _make_queue_as(sqs.Queue.__init__)
    moto_tables.take()
    update_expressions.take()
