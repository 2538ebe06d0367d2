"""Picks records, and writes them as CSV or JSON lines."""

import csv
import hashlib
import io
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import date
from typing import IO, Any, Literal, get_args

from pydantic import BaseModel, Field, HttpUrl

from jobs._records import open_source, records
from usher import Job

SAMPLE = 5
UPLOAD_SECONDS = 300
FieldName = Literal[
    "id", "date", "suburb", "address", "type", "rooms", "bathrooms", "carSpaces", "landSize",
    "price", "status", "postcode", "latitude", "longitude",
]  # fmt: skip


class ListingExport(Job):
    """Exports property records that fit a filter, as CSV or JSON lines."""

    cpu = 256
    memory = 128
    timeout_seconds = 1_800

    class Parameters(BaseModel, extra="forbid"):
        """What to export, and where to."""

        source: str | None = None
        """File or http(s) URL of JSON lines; without one, an invented market."""
        suburbs: list[str] = []
        """All of them, unless some are named; upper and lower case are the same."""
        types: list[Literal["house", "unit", "townhouse"]] = []
        min_price: float | None = Field(default=None, ge=0)
        max_price: float | None = Field(default=None, ge=0)
        since: date | None = None
        until: date | None = None
        fields: list[FieldName] = Field(default=list(get_args(FieldName)), min_length=1)
        format: Literal["csv", "jsonl"] = "csv"
        output: str | None = None
        """The file; without it, one in the folder for temporary files, which ends with the
        container."""
        upload_to: HttpUrl | None = None
        """Where the file is PUT when it is complete, as to a presigned URL of S3."""

    def run(self, parameters: Parameters) -> dict[str, Any]:
        """Memory stays the same however long the source is."""
        path = parameters.output or os.path.join(
            tempfile.gettempdir(), f"listing_export.{parameters.format}"
        )
        counts = {"read": 0, "written": 0, "notRecords": 0}
        sample: list[dict[str, Any]] = []
        with open_source(parameters.source) as (lines, size), open(path, "wb") as file:
            writer = _Writer(file, parameters.format, parameters.fields)
            for record in records(lines, size, self.progress):
                counts["read"] += 1
                if record is None:
                    counts["notRecords"] += 1
                elif _fits(record, parameters):
                    row: dict[str, Any] = {name: record.get(name) for name in parameters.fields}
                    writer.write(row)
                    counts["written"] += 1
                    sample += [row] if len(sample) < SAMPLE else []
        self.progress(1.0, f"{counts['written']} of {counts['read']} records written")
        if parameters.upload_to is not None:
            _upload(path, str(parameters.upload_to))
        return {
            **counts,
            "bytes": writer.size,
            "sha256": writer.digest.hexdigest(),
            "output": path,
            "uploaded": parameters.upload_to is not None,
            "sample": sample,
        }


def _fits(record: dict[str, Any], wanted: ListingExport.Parameters) -> bool:
    return all(_answers(record, wanted))


def _answers(record: dict[str, Any], wanted: ListingExport.Parameters) -> Iterator[bool]:
    """Whether the record fits each part of the filter. What it does not say does not fit."""
    if wanted.suburbs:
        names = {name.casefold() for name in wanted.suburbs}
        yield str(record.get("suburb")).casefold() in names
    if wanted.types:
        yield record.get("type") in wanted.types
    price = record.get("price")
    if isinstance(price, bool) or not isinstance(price, int | float):
        price = None
    if wanted.min_price is not None:
        yield price is not None and price >= wanted.min_price
    if wanted.max_price is not None:
        yield price is not None and price <= wanted.max_price
    day = str(record.get("date") or "")  # ISO dates sort as text
    if wanted.since is not None:
        yield day >= wanted.since.isoformat()
    if wanted.until is not None:
        yield "" < day <= wanted.until.isoformat()


class _Writer:
    """Writes rows and keeps count of what it wrote."""

    def __init__(self, file: IO[bytes], kind: str, fields: Sequence[str]) -> None:
        self._file = file
        self._text = io.StringIO(newline="")
        self._csv = csv.DictWriter(self._text, fields) if kind == "csv" else None
        self.digest = hashlib.sha256()
        self.size = 0
        if self._csv is not None:
            self._csv.writeheader()
            self._flush()

    def write(self, row: dict[str, Any]) -> None:
        if self._csv is not None:
            self._csv.writerow(row)
        else:
            self._text.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._flush()

    def _flush(self) -> None:
        data = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


def _upload(path: str, url: str) -> None:
    """Raises OSError when it is not taken."""
    with open(path, "rb") as file:
        request = urllib.request.Request(  # noqa: S310 - an http(s) URL by its schema
            url, file, {"Content-Length": str(os.path.getsize(path))}, method="PUT"
        )
        with urllib.request.urlopen(request, timeout=UPLOAD_SECONDS):  # noqa: S310
            return
