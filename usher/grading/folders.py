"""Reads graders and assignments from folders."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from usher.grading.specification import Grader, GraderError, TableReader, parse_grader

GRADER = "grader.toml"
ASSIGNMENT = "assignment.toml"
MOST_BYTES = 64 * 1024 * 1024
"""Of all files of a grader."""


@dataclass(frozen=True)
class GraderFolder:
    """A grader with its files, read once: what is graded is what was checked."""

    name: str
    grader: Grader
    files: dict[str, bytes]
    path: Path
    points: float | None = None
    """What the part of an assignment is worth; None for a grader by itself."""


@dataclass(frozen=True)
class Assignment:
    """Parts with points, and what has to be earned."""

    title: str
    pass_points: float
    parts: dict[str, GraderFolder]


def read_grader(folder: Path, name: str = "", points: float | None = None) -> GraderFolder:
    """Raises GraderError with every problem of `grader.toml`."""
    table = read_toml(folder / GRADER)
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_symlink() or not path.is_file() or below.parts[0] == "solutions":
            continue
        size += path.stat().st_size
        if size > MOST_BYTES:
            raise GraderError(f"{folder}: more than {MOST_BYTES // 1024 // 1024} MiB of files")
        files[below.as_posix()] = path.read_bytes()
    try:
        grader = parse_grader(table, files)
    except GraderError as error:
        lines = [f"{folder / GRADER}: {line}" for line in str(error).splitlines()]
        raise GraderError("\n".join(lines)) from None
    if grader.kind == "image":
        raise GraderError(f"{folder / GRADER}: this version marks with graders of kind tests only")
    return GraderFolder(name or folder.resolve().name, grader, files, folder, points)


def read_assignment(folder: Path) -> Assignment:
    """An assignment, or a grader by itself as an assignment of one part. Raises GraderError."""
    if not (folder / ASSIGNMENT).is_file():
        if not (folder / GRADER).is_file():
            raise GraderError(f"{folder} has neither {GRADER} nor {ASSIGNMENT}")
        one = read_grader(folder)
        return Assignment(one.name, 0, {one.name: one})
    problems: list[str] = []
    read = TableReader(read_toml(folder / ASSIGNMENT), "", problems)
    title = read.text("title", folder.resolve().name) or ""
    passing = read.number("pass_points", 0, 0, 1_000_000)
    parts: dict[str, GraderFolder] = {}
    tables = read.get("parts")
    if not isinstance(tables, dict) or not tables:
        read.problem("parts", "at least one [parts.NAME] is needed")
        tables = {}
    for name, table in tables.items():
        inner = TableReader(table if isinstance(table, dict) else {}, f"parts.{name}.", problems)
        inner.text("title")
        points = inner.number("points", 0, 0, 1_000_000)
        place = inner.text("grader", name) or name
        inner.end()
        if ".." in Path(place).parts or Path(place).is_absolute():
            inner.problem("grader", "a folder inside the assignment's")
            continue
        try:
            parts[name] = read_grader(folder / place, name, points)
        except GraderError as error:
            problems += str(error).splitlines()
    read.end()
    total = sum(part.points or 0 for part in parts.values())
    if not problems and passing > total:
        read.problem("pass_points", f"more than all parts have together ({total:g})")
    if problems:
        raise GraderError("\n".join(problems))
    return Assignment(title, passing, parts)


def read_toml(path: Path) -> dict[str, Any]:
    """Raises GraderError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GraderError(f"there is no {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GraderError(f"{path}: {error}") from None
