"""Detects changes of a session app's files, and errors in them."""

from collections.abc import Mapping
from pathlib import Path

from docker.utils.build import exclude_paths

Files = Mapping[str, tuple[int, int]]
"""Path below the folder to time of the last change in ns, and size in bytes."""

NOT_IN_IMAGES = (
    ".git",
    ".venv",
    "**/__pycache__",
    "**/.pytest_cache",
    "**/.mypy_cache",
    "**/.ruff_cache",
    "node_modules",
)


def files_in(folder: Path) -> Files:
    """The files of an app, without those that .dockerignore leaves out of its image."""
    ignore = folder / ".dockerignore"
    patterns = list(NOT_IN_IMAGES)
    if ignore.is_file():
        lines = (line.strip() for line in ignore.read_text(encoding="utf-8").splitlines())
        patterns += [line for line in lines if line and not line.startswith("#")]
    found = {}
    for name in exclude_paths(str(folder), patterns):
        try:
            stat = (folder / name).lstat()
        except FileNotFoundError:
            continue  # deleted in this very moment
        if not (folder / name).is_dir():
            found[name] = (stat.st_mtime_ns, stat.st_size)
    return found


def changed(before: Files, after: Files) -> list[str]:
    """Names of the files that are new, gone or different, sorted."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def syntax_errors(folder: Path, names: list[str]) -> list[str]:
    """`file:line: error` for each Python file among `names` that does not compile."""
    problems = []
    for name in names:
        path = folder / name
        if path.suffix != ".py" or not path.is_file():
            continue
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 0
            problems.append(f"{name}:{line}: {getattr(error, 'msg', error)}")
    return problems
