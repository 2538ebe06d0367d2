"""Shortcuts through moto, through the seams that it offers. They change no answer.

- `method_names_from_class` inspects a handler class anew for each call; here once for each class.
- DynamoDB's answers are nested `{"S": "…"}`, of a shape with ten members. moto looks for each of
  the ten under up to eight aliases, which takes three quarters of a GetItem. `AttributeValues`
  looks only at the members that are there: a plain dict whose keys all are members of its shape
  cannot hold anything under an alias.
"""

from functools import cache
from typing import Any

from moto.core import responses
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer

_SHAPE = "AttributeValue"


class AttributeValues(JSONSerializer):  # type: ignore[misc]
    """Writes DynamoDB's answers."""

    def _serialize_type_structure(self, serialized: Any, value: Any, shape: Any, key: str) -> None:
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


def take() -> None:
    """Take the shortcuts from now on, in the whole process. Idempotent."""
    if not hasattr(responses.method_names_from_class, "cache_info"):
        responses.method_names_from_class = cache(responses.method_names_from_class)
    SERVICE_SPECIFIC_SERIALIZERS.setdefault("dynamodb", {})["json"] = AttributeValues
