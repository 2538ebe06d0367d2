"""The engine's API with botocore's model as its judge: what AWS cannot answer is a failed test."""

import datetime
from functools import cache
from typing import Any

from botocore.model import OperationModel, ServiceModel
from botocore.session import get_session
from botocore.validate import ParamValidator

from local.aws.ecs.api import EcsApi
from local.aws.ecs.errors import EcsApiError

COMMON = frozenset(
    {
        "AccessDeniedException",
        "ServerException",
        "ServiceUnavailable",
        "ThrottlingException",
        "UnknownOperationException",
    }
)
"""Codes that every action may answer and that no operation's model lists.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html
"""
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (float,),
    "boolean": (bool,),
    "timestamp": (datetime.datetime,),
}


@cache
def ecs_model() -> ServiceModel:
    """botocore's model of ECS."""
    return get_session().get_service_model("ecs")


def error_codes(operation: OperationModel) -> set[str]:
    """The codes that the operation can answer."""
    return {shape.name for shape in operation.error_shapes} | COMMON


def check(shape: Any, value: Any, where: str) -> None:
    """Every key is in the model and every value has its type."""
    if shape.type_name == "structure":
        assert isinstance(value, dict), where
        for name, inner in value.items():
            assert name in shape.members, f"{where}.{name} is not in the model"
            check(shape.members[name], inner, f"{where}.{name}")
    elif shape.type_name == "list":
        assert isinstance(value, list), where
        for inner in value:
            check(shape.member, inner, f"{where}[]")
    elif shape.type_name == "map":
        assert isinstance(value, dict), where
    elif shape.type_name == "timestamp":
        assert isinstance(value, (int, float)), where
    else:
        assert type(value) in TYPES[shape.type_name], f"{where} is {type(value)}"
        allowed = getattr(shape, "enum", None)
        assert not allowed or value in allowed, f"{where} is {value}"


class StrictEcsApi(EcsApi):
    """Checks each request that is answered, each answer and each error's code."""

    def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """As EcsApi's; raises AssertionError for requests and answers that AWS's model does not
        allow.
        """
        known = action in ecs_model().operation_names
        try:
            reply = super().call(action, parameters)
        except EcsApiError as error:
            if known:
                codes = error_codes(ecs_model().operation_model(action))
                if error.code not in codes:
                    raise AssertionError(f"{action} cannot answer {error.code}") from error
            raise
        assert known, f"ECS has no action {action}"
        operation = ecs_model().operation_model(action)
        problems = ParamValidator().validate(parameters, operation.input_shape)
        assert not problems.has_errors(), f"{action}: {problems.generate_report()}"
        check(operation.output_shape, reply, action)
        return reply
