"""Objects of grading in S3: graders' files, learners' files, and judges' documents.

Keys consist of generated ids and numbers, never of a learner's text. Judges have no rights on the
bucket: a presigned URL permits one method on one object for a limited time.
"""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""Maximum size of a judge's document: 500 cases of three texts of 4 KiB, escaped."""
_AUTHOR, _LEARNER = "author.json", "learner.json"


class GradingFiles:
    """Objects, through a boto3 S3 client."""

    def __init__(self, s3: Callable[[], Any], bucket: str) -> None:
        """`s3` returns the client, which is created when it is first needed."""
        self._s3 = s3
        self._bucket = bucket

    def put(self, key: str, data: bytes) -> None:
        """Store an object; equal keys always have equal content."""
        self._s3().put_object(Bucket=self._bucket, Key=key, Body=data)

    def document(self, results: str, *, is_author: bool) -> dict[str, Any] | None:
        """The judge's document for authors or for learners; None if it does not exist."""
        key = f"{results}/{_AUTHOR if is_author else _LEARNER}"
        try:
            answer = self._s3().get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None  # expired in the bucket
            raise
        data = answer["Body"].read(MAX_DOCUMENT_BYTES + 1)
        if len(data) > MAX_DOCUMENT_BYTES:
            return None
        document = json.loads(data)
        return document if isinstance(document, dict) else None

    def readable_for(self, key: str, seconds: int) -> str:
        """A URL that permits to read the object for `seconds`."""
        return self._presigned("get_object", key, seconds)

    def writable_for(self, results: str, seconds: int) -> dict[str, str]:
        """URLs that permit a judge to write its two documents."""
        names = {"author": _AUTHOR, "learner": _LEARNER}
        return {
            reader: self._presigned("put_object", f"{results}/{name}", seconds)
            for reader, name in names.items()
        }

    def _presigned(self, method: str, key: str, seconds: int) -> str:
        parameters = {"Bucket": self._bucket, "Key": key}
        url = self._s3().generate_presigned_url(method, Params=parameters, ExpiresIn=seconds)
        return str(url)
