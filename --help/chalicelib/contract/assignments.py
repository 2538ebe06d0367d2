"""Parses the files of an assignment: its parts with their graders. Pure."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from chalicelib.contract.graders import Grader, GraderError, TableReader, parse_grader

GRADER = "grader.toml"
ASSIGNMENT = "assignment.toml"
DOCKERFILE = "Dockerfile"
"""Of a grader: its image is built of it."""
SOLUTIONS = "solutions"
"""A directory of a grader for its author only: it is neither stored nor sent to a judge."""
IMAGE_POINTS = 100.0
"""Points of a grader of the kind `image` that is not part of an assignment."""
MOST_PARTS = 16
MOST_BYTES = 64 * 1024 * 1024
"""Maximum size of a grader's files."""
_MOST_TITLE = 200


@dataclass(frozen=True)
class Part:
    """One part. `files` are its grader's files by their paths in the grader's directory."""

    name: str
    title: str
    points: float | None
    """Its points; None for a grader without an assignment, whose points are the sum of its
    cases."""
    folder: str
    """Its grader's directory in the assignment; empty for a grader without an assignment."""
    grader: Grader
    files: Mapping[str, bytes]

    @property
    def max_score(self) -> float:
        """Its points."""
        by_itself = IMAGE_POINTS if self.grader.kind == "image" else self.grader.max_score
        return by_itself if self.points is None else self.points


@dataclass(frozen=True)
class AssignmentFiles:
    """An assignment's parts with points, and the points to pass."""

    title: str
    pass_points: float
    parts: Mapping[str, Part]


def parse_assignment(files: Mapping[str, bytes], name: str) -> AssignmentFiles:
    """Parse an assignment, or a single grader as an assignment of one part called `name`.

    `files` by their paths in the assignment's directory. Raises GraderError with every problem.
    """
    if ASSIGNMENT not in files:
        if GRADER not in files:
            raise GraderError(f"{name} has neither {GRADER} nor {ASSIGNMENT}")
        one = parse_part(files, name, name, None, "")
        return AssignmentFiles(name, 0, {name: one})
    problems: list[str] = []
    read = TableReader(read_toml(files, ASSIGNMENT), "", problems)
    title = read.text("title", name) or ""
    if len(title) > _MOST_TITLE:
        read.problem("title", f"at most {_MOST_TITLE} characters")
    passing = read.number("pass_points", 0, 0, 1_000_000)
    parts = _read_parts(files, read)
    read.end()
    total = sum(part.points or 0 for part in parts.values())
    if not problems and passing > total:
        read.problem("pass_points", f"more than all parts have together ({total:g})")
    if problems:
        raise GraderError("\n".join(problems))
    return AssignmentFiles(title, passing, parts)


def _read_parts(files: Mapping[str, bytes], read: TableReader) -> dict[str, Part]:
    tables = read.get("parts")
    if not isinstance(tables, dict) or not 1 <= len(tables) <= MOST_PARTS:
        read.problem("parts", f"at least one [parts.NAME] is needed, and at most {MOST_PARTS}")
        return {}
    parts: dict[str, Part] = {}
    for name, table in tables.items():
        is_table = isinstance(table, dict)
        inner = TableReader(table if is_table else {}, f"parts.{name}.", read.problems)
        if not is_part_name(name):
            inner.problem("name", "at most 64 letters, digits, dashes and underscores")
        title = inner.text("title", name) or name
        points = inner.number("points", 0, 0, 1_000_000)
        place = inner.text("grader", name) or name
        inner.end()
        if ".." in PurePosixPath(place).parts or PurePosixPath(place).is_absolute():
            inner.problem("grader", "a folder inside the assignment's")
            continue
        try:
            folder = PurePosixPath(place).as_posix()
            parts[name] = parse_part(files, name, title, points, folder)
        except GraderError as error:
            read.problems += str(error).splitlines()
    return parts


def names_image(grader: Grader, files: Collection[str]) -> bool:
    """Whether a grader brings an image, which is pinned and cleaned before its first use."""
    return grader.kind == "image" or bool(grader.image) or DOCKERFILE in files


def is_part_name(name: str) -> bool:
    """Whether a part may have this name."""
    allowed = name.replace("-", "").replace("_", "")
    return 0 < len(name) <= 64 and allowed.isascii() and allowed.isalnum()


def parse_part(
    files: Mapping[str, bytes], name: str, title: str, points: float | None, folder: str
) -> Part:
    """Parse one part, whose grader is in `folder`. Raises GraderError."""
    prefix = f"{folder}/" if folder not in ("", ".") else ""
    own = {
        path.removeprefix(prefix): data
        for path, data in files.items()
        if path.startswith(prefix) and not is_solution(path.removeprefix(prefix))
    }
    table = read_toml(files, f"{prefix}{GRADER}")
    if sum(map(len, own.values())) > MOST_BYTES:
        raise GraderError(f"{folder or name}: more than {MOST_BYTES // 1024 // 1024} MiB of files")
    try:
        grader = parse_grader(table, own)
    except GraderError as error:
        lines = [f"{prefix}{GRADER}: {line}" for line in str(error).splitlines()]
        raise GraderError("\n".join(lines)) from None
    return Part(name, title, points, folder, grader, own)


def is_solution(path: str) -> bool:
    """Whether a path in a grader's directory is one of its solutions."""
    return path.partition("/")[0] == SOLUTIONS


def read_toml(files: Mapping[str, bytes], path: str) -> dict[str, Any]:
    """Parse a TOML file. Raises GraderError."""
    if path not in files:
        raise GraderError(f"there is no {path}")
    try:
        return tomllib.loads(files[path].decode())
    except RecursionError:
        raise GraderError(f"{path}: too many levels") from None
    except ValueError as error:  # invalid UTF-8, invalid TOML, or a number with thousands of digits
        raise GraderError(f"{path}: {error}") from None
