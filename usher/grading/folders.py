"""Reads graders and assignments from folders."""

from dataclasses import dataclass
from pathlib import Path

from chalicelib.contract.assignments import (
    IMAGE_POINTS,
    MOST_BYTES,
    Part,
    is_solution,
    names_image,
    parse_assignment,
    parse_part,
)
from chalicelib.contract.graders import Grader, GraderError


@dataclass(frozen=True)
class GraderFolder:
    """A grader with its files, read once, so that the checked files are used for marking."""

    name: str
    grader: Grader
    files: dict[str, bytes]
    path: Path
    points: float | None = None
    """The part's points; None for a grader without an assignment."""

    @property
    def max_points(self) -> float:
        """The maximum of a grading."""
        by_itself = IMAGE_POINTS if self.grader.kind == "image" else self.grader.max_score
        return by_itself if self.points is None else self.points

    @property
    def names_image(self) -> bool:
        """Whether it has an image of its own."""
        return names_image(self.grader, self.files)


@dataclass(frozen=True)
class Assignment:
    """Parts with points, and the points to pass."""

    title: str
    pass_points: float
    parts: dict[str, GraderFolder]


def read_grader(folder: Path, name: str = "", points: float | None = None) -> GraderFolder:
    """Raises GraderError with every problem of `grader.toml`."""
    name = name or folder.resolve().name
    return _grader_folder(folder, parse_part(read_files(folder), name, name, points, ""))


def read_assignment(folder: Path) -> Assignment:
    """An assignment, or a single grader as an assignment of one part. Raises GraderError."""
    found = parse_assignment(read_files(folder), folder.resolve().name)
    parts = {name: _grader_folder(folder, part) for name, part in found.parts.items()}
    return Assignment(found.title, found.pass_points, parts)


def read_files(folder: Path) -> dict[str, bytes]:
    """The regular files below a directory by their paths, without solutions and without following
    links. Raises GraderError.
    """
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_symlink() or not path.is_file() or _is_left_out(below):
            continue
        try:
            size += path.stat().st_size
            if size > MOST_BYTES:
                raise GraderError(f"{folder}: more than {MOST_BYTES // 1024 // 1024} MiB of files")
            files[below.as_posix()] = path.read_bytes()
        except OSError as error:
            raise GraderError(str(error)) from None
    return files


def _is_left_out(below: Path) -> bool:
    """Solutions of a grader, in this directory or below it."""
    parts = below.parts
    return any(is_solution("/".join(parts[n:])) for n in range(len(parts) - 1))


def _grader_folder(folder: Path, part: Part) -> GraderFolder:
    path = folder / part.folder
    return GraderFolder(part.name, part.grader, dict(part.files), path, part.points)
