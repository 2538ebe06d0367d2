"""Errors as Kinesis gives them."""


class KinesisError(Exception):
    """An error of Kinesis. `code` is the error's code in boto3."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> KinesisError:
    return KinesisError("InvalidArgumentException", message)


def not_found(message: str) -> KinesisError:
    return KinesisError("ResourceNotFoundException", message)


def too_fast(shard_id: str, stream: str) -> KinesisError:
    return KinesisError(
        "ProvisionedThroughputExceededException",
        f"Rate exceeded for shard {shard_id} in stream {stream}.",
    )
