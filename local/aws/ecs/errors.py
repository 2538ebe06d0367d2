"""Errors in the ECS API's wording."""

from typing import Any


class EcsApiError(Exception):
    """An error reply of the ECS API. `code` is the exception name boto3 shows."""

    def __init__(self, code: str, message: str, status: int = 400, **extra: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON body of the HTTP reply, in the form of the JSON 1.1 protocol."""
        return {"__type": self.code, "message": self.message, **self.extra}


def client_error(message: str) -> EcsApiError:
    """The request is well formed but not possible."""
    return EcsApiError("ClientException", message)


def invalid_parameter(message: str) -> EcsApiError:
    """A parameter of the request is out of its range."""
    return EcsApiError("InvalidParameterException", message)


def cluster_not_found() -> EcsApiError:
    return EcsApiError("ClusterNotFoundException", "Cluster not found.")


def unsupported(message: str) -> EcsApiError:
    """Amazon ECS supports it, this engine does not."""
    return EcsApiError("UnsupportedFeatureException", message)


def throttled() -> EcsApiError:
    return EcsApiError("ThrottlingException", "Rate exceeded")


def conflict(message: str, resource_ids: list[str]) -> EcsApiError:
    """A client token was used before for another request."""
    return EcsApiError("ConflictException", message, resourceIds=resource_ids)
