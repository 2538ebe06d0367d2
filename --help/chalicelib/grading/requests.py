"""Parses and checks requests about assignments and submissions. Pure."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.contract.assignments import AssignmentFiles, is_solution, parse_assignment
from chalicelib.contract.graders import GraderError
from chalicelib.contract.submitted import (
    MOST_BYTES,
    MOST_FILES,
    SubmissionError,
    accept_files,
)
from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.grading.archives import check_path, unpack
from chalicelib.grading.fields import LIMIT, MAX_LEARNER
from chalicelib.grading.model import Assignment, PartInfo
from chalicelib.grading.multipart import FormField

MAX_ARCHIVE_BYTES = 4 * 1024 * 1024
"""Maximum size of an assignment's archive: Lambda accepts requests of 6 MB, and base64 adds a
third."""
_ASSIGNMENT_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_TOKEN = re.compile(r"[A-Za-z0-9_=-]{1,1024}")

Files = Mapping[str, bytes]


def parse_assignment_id(text: str) -> str:
    """An assignment's id. Raises NotFoundError for an invalid one."""
    if not _ASSIGNMENT_ID.fullmatch(text):
        raise NotFoundError(
            "no such assignment: ids are small letters, digits, - and _, at most 40, a letter first"
        )
    return text


def parse_put(assignment_id: str, body: Any) -> tuple[AssignmentFiles, Files]:
    """Parse PUT /assignments/{id}: the parsed files, and the files without solutions.

    Raises BadRequestError with every problem of the files.
    """
    parse_assignment_id(assignment_id)
    if not isinstance(body, Mapping) or len(body) != 1 or not set(body) <= {"files", "archive"}:
        raise BadRequestError(
            'the body must be {"files": {"grader.toml": "text" or {"base64"}, …}} '
            'or {"archive": {"base64": a zip file}}'
        )
    if "archive" in body:
        data = _content(body["archive"], "archive")
        if len(data) > MAX_ARCHIVE_BYTES:
            raise BadRequestError(f"archive: at most {MAX_ARCHIVE_BYTES} bytes")
        files = unpack(data)
    else:
        files = {check_path(path): data for path, data in _files(body["files"], "files").items()}
    files = {path: data for path, data in files.items() if not _is_left_out(path)}
    try:
        return parse_assignment(files, assignment_id), files
    except GraderError as error:
        raise BadRequestError(str(error)) from error


def _is_left_out(path: str) -> bool:
    parts = path.split("/")
    return any(is_solution("/".join(parts[n:])) for n in range(len(parts) - 1))


def part_infos(found: AssignmentFiles) -> tuple[PartInfo, ...]:
    """The description of the parts for the record."""
    return tuple(
        PartInfo(
            name=part.name,
            title=part.title,
            max_score=round(part.max_score, 6),
            kind=part.grader.kind,
            files=part.grader.files,
            cases=len(part.grader.cases),
            time_limit_seconds=part.grader.time_limit_seconds,
            memory_limit_mib=part.grader.memory_limit_mib,
            output_limit_kib=part.grader.output_limit_kib,
        )
        for part in found.parts.values()
    )


@dataclass(frozen=True)
class Submit:
    """POST /assignments/{id}/submissions, not yet checked against the assignment."""

    parts: Mapping[str, Files]
    learner: str | None
    """Set by an operator; None = the caller."""

    @property
    def digest(self) -> str:
        """Digest of the request: a repetition with the same Idempotency-Key must have the same
        one.
        """
        document = [
            self.learner,
            [
                [part, [[name, hashlib.sha256(files[name]).hexdigest()] for name in sorted(files)]]
                for part, files in sorted(self.parts.items())
            ],
        ]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def parse_submit(body: Any) -> Submit:
    """Parse the JSON form. Raises BadRequestError."""
    if not isinstance(body, Mapping) or not set(body) <= {"parts", "learner"}:
        raise BadRequestError(_SHAPE)
    tables = body.get("parts")
    if not isinstance(tables, Mapping) or not tables:
        raise BadRequestError(_SHAPE)
    parts = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping) or set(table) != {"files"}:
            raise BadRequestError(_SHAPE)
        parts[name] = _files(table["files"], f"parts.{name}.files")
    return Submit(parts, parse_learner(body.get("learner")))


def read_form(fields: list[FormField]) -> Submit:
    """Parse the multipart form: a field for each file, named after its part. Raises
    BadRequestError.
    """
    parts: dict[str, dict[str, bytes]] = {}
    learner = None
    for field in fields:
        if field.filename is None:
            if field.name != "learner":
                raise BadRequestError(f"{field.name!r}: a field of a part has a file name")
            learner = parse_learner(field.data.decode("utf-8", "replace"))
            continue
        files = parts.setdefault(field.name, {})
        if field.filename in files:
            raise BadRequestError(f"{field.filename!r} was handed in twice")
        files[field.filename] = field.data
    if not parts:
        raise BadRequestError("no file was handed in: a field for each file, called by its part")
    return Submit(parts, learner)


_SHAPE = 'the body must be {"parts": {"PART": {"files": {"NAME": "text" or {"base64"}}}}}'


def accept(assignment: Assignment, submit: Submit) -> dict[str, Files]:
    """The files to mark, by part. Raises BadRequestError with a message for the learner."""
    accepted: dict[str, Files] = {}
    for name, files in submit.parts.items():
        part = assignment.part(name)
        if part is None:
            known = ", ".join(each.name for each in assignment.parts)
            raise BadRequestError(f"there is no part {name!r}; there are {known}")
        try:
            accepted[name] = accept_files(files, part.files)
        except SubmissionError as error:
            raise BadRequestError(f"{name}: {error}") from error
    everything = [data for files in accepted.values() for data in files.values()]
    if sum(map(len, everything)) > MOST_BYTES:
        raise BadRequestError("together the files have more than 1 MiB")
    if len(everything) > MOST_FILES:
        raise BadRequestError(f"more than {MOST_FILES} files")
    return accepted


def parse_learner(name: Any) -> str | None:
    """The learner in an operator's request. Raises BadRequestError."""
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_LEARNER or not name.isprintable():
        raise BadRequestError(f"learner: 1 to {MAX_LEARNER} printable characters")
    return name


@dataclass(frozen=True)
class Listing:
    """The query of a listing."""

    limit: int
    after: str | None
    """Position of the page, as the table defines it."""
    learner: str | None = None


def parse_listing(query: Mapping[str, str]) -> Listing:
    """`limit`, `next` and `learner`. Raises BadRequestError."""
    after, learner = query.get("next"), parse_learner(query.get("learner"))
    token = None if after is None else _read_token(after, learner)
    return Listing(LIMIT.read(query), token, learner)


def show_next(after: str | None, learner: str | None) -> str | None:
    """The cursor of the next page; it is valid for the same learner only."""
    if after is None:
        return None
    document = json.dumps([learner, json.loads(after)], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).decode()


def _read_token(token: str, learner: str | None) -> str:
    refusal = BadRequestError("next: as the page before said")
    if not _TOKEN.fullmatch(token):
        raise refusal
    try:
        of_learner, key = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError) as error:
        raise refusal from error
    if of_learner != learner or not isinstance(key, dict) or not _is_key(key):
        raise refusal
    return json.dumps(key)


def _is_key(key: Mapping[str, Any]) -> bool:
    values = [value for value in key.values() if isinstance(value, dict) and len(value) == 1]
    texts = [text for value in values for text in value.values()]
    return len(values) == len(key) and all(isinstance(text, str) for text in texts)


def _files(document: Any, where: str) -> dict[str, bytes]:
    if not isinstance(document, Mapping) or not document:
        raise BadRequestError(f'{where}: {{"NAME": "text" or {{"base64"}}}}')
    return {name: _content(content, f"{where}.{name[:80]}") for name, content in document.items()}


def _content(content: Any, where: str) -> bytes:
    if isinstance(content, str):
        try:
            return content.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRequestError(f"{where}: half of a pair of surrogates") from error
    if isinstance(content, Mapping) and set(content) == {"base64"}:
        try:
            return base64.b64decode(content["base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise BadRequestError(f"{where}: this is no base64") from error
    raise BadRequestError(f'{where}: "text" or {{"base64"}}')
