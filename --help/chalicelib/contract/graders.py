"""Parses `grader.toml` and checks it completely. Pure.

All problems are reported at once, and an unknown key is a problem: a misspelt limit would otherwise
be ignored.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_CASES = 500
KINDS = ("tests", "image")
VISIBILITIES = ("visible", "hidden")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,255}")
_CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


class GraderError(Exception):
    """A grader is invalid; the message has a line for each problem."""


@dataclass(frozen=True)
class Program:
    """A checker or interactor: a file in the grader's directory, optionally compiled."""

    program: str
    files: tuple[str, ...] = ()
    compile: tuple[str, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        """Its command; python3 for a program in Python."""
        return ("python3", self.program) if self.program.endswith(".py") else (f"./{self.program}",)

    @property
    def needed(self) -> tuple[str, ...]:
        """The files of the grader's directory that it needs."""
        made = () if self.compile else (self.program,)
        return tuple(dict.fromkeys((*self.files, *made)))


@dataclass(frozen=True)
class FloatChecker:
    """Numbers may differ by this much, absolutely or relatively."""

    tolerance: float


Checker = str | FloatChecker | Program
"""`exact`, `lines`, `tokens`, or one of the two classes."""


@dataclass(frozen=True)
class Case:
    """One test. Paths are relative to the grader's directory; `answer` is empty with an
    interactor.
    """

    name: str
    input: str
    answer: str
    points: float
    is_visible: bool


@dataclass(frozen=True)
class Group:
    """Its points are earned if all of its cases and all groups that it depends on are passed."""

    name: str
    cases: tuple[str, ...]
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grader:
    """One grader of either kind; for `image` only the first fields apply."""

    kind: str
    image: str | None = None
    files: tuple[str, ...] = ()
    time_limit_seconds: float = 1.0
    wall_limit_seconds: float | None = None
    memory_limit_mib: int = 64
    output_limit_kib: int = 1024
    processes: int = 64
    compile: tuple[str, ...] = ()
    compile_time_limit_seconds: float = 20.0
    compile_memory_limit_mib: int = 1024
    run: tuple[str, ...] = ()
    checker: Checker = "tokens"
    interactor: Program | None = None
    cases: tuple[Case, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def wall_seconds(self) -> float:
        """Limit of elapsed time: twice the processor time and a second, unless configured."""
        return self.wall_limit_seconds or 2 * self.time_limit_seconds + 1

    @property
    def max_score(self) -> float:
        """The points of a grader of the kind `tests`."""
        return sum(case.points for case in self.cases)


@dataclass
class TableReader:
    """Reads one table and collects its problems."""

    table: Mapping[str, Any]
    where: str
    problems: list[str]
    asked: set[str] = field(default_factory=set)

    def problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.where}{key}: {text}")

    def get(self, key: str) -> Any:
        self.asked.add(key)
        return self.table.get(key)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self.get(key)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            self.problem(key, f"a number from {low:g} to {high:g}")
            return default
        return float(value)

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.problem(key, f"a whole number from {low} to {high}")
            return default
        return value

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value or "\0" in value:
            self.problem(key, "a text")
            return default
        return value

    def one_of(self, key: str, default: str, allowed: Sequence[str]) -> str:
        value = self.get(key)
        if value is None:
            return default
        if value not in allowed:
            self.problem(key, f"one of {', '.join(allowed)}")
            return default
        return str(value)

    def strings(self, key: str, *, needed: bool = False) -> tuple[str, ...]:
        value = self.get(key)
        if value is None:
            if needed:
                self.problem(key, "is missing")
            return ()
        is_list = isinstance(value, list) and bool(value)
        if not is_list or not all(isinstance(w, str) and w and "\0" not in w for w in value):
            self.problem(key, 'a list of texts, as ["g++", "main.cpp"]')
            return ()
        return tuple(value)

    def end(self) -> None:
        for key in self.table:
            if key not in self.asked:
                known = ", ".join(sorted(self.asked))
                self.problem(str(key), f"is not known here; there are {known}")


def _image(read: TableReader) -> str | None:
    """It becomes a part of a URL of the Docker Engine."""
    image = read.text("image")
    if image and (not _IMAGE_NAME.fullmatch(image) or ".." in image):
        read.problem("image", "the name of an image, as gcc:14 or NAME@sha256:…")
        return None
    return image


def parse_grader(table: Mapping[str, Any], present: Collection[str]) -> Grader:
    """Parse the TOML document of a grader.

    `present` has the names of the files in the grader's directory. Raises GraderError with all
    problems.
    """
    problems: list[str] = []
    read = TableReader(table, "", problems)
    kind = read.one_of("kind", "tests", KINDS)
    most = 600.0 if kind == "image" else 60.0
    shared: dict[str, Any] = {
        "kind": kind,
        "image": _image(read),
        "files": read.strings("files", needed=True),
        "time_limit_seconds": read.number(
            "time_limit_seconds", 30.0 if kind == "image" else 1.0, 0.05, most
        ),
        "wall_limit_seconds": read.number("wall_limit_seconds", 0, 0.05, 2 * most) or None,
        "memory_limit_mib": read.whole("memory_limit_mib", 512 if kind == "image" else 64, 8, 8192),
        "output_limit_kib": read.whole("output_limit_kib", 1024, 1, 65_536),
        "processes": read.whole("processes", 64, 1, 1024),
    }
    for name in shared["files"]:
        if "/" in name or name in (".", ".."):
            read.problem("files", f"{name!r} is no name of a file")
    own = _read_tests(read, present) if kind == "tests" else {}
    read.end()
    if problems:
        raise GraderError("\n".join(problems))
    return Grader(**shared, **own)


def _read_tests(read: TableReader, present: Collection[str]) -> dict[str, Any]:
    interactor = _read_program(read, "interactor", read.get("interactor"), present)
    cases = _read_cases(read, present, needs_answer=interactor is None)
    return {
        "compile": read.strings("compile"),
        "compile_time_limit_seconds": read.number("compile_time_limit_seconds", 20.0, 0.1, 120.0),
        "compile_memory_limit_mib": read.whole("compile_memory_limit_mib", 1024, 16, 8192),
        "run": read.strings("run", needed=True),
        "checker": _read_checker(read, present),
        "interactor": interactor,
        "cases": cases,
        "groups": _read_groups(read, [case.name for case in cases]),
    }


def _read_checker(read: TableReader, present: Collection[str]) -> Checker:
    value = read.get("checker")
    if value is None or value in ("exact", "lines", "tokens"):
        return value or "tokens"
    if isinstance(value, dict) and set(value) == {"float"}:
        tolerance = value["float"]
        is_number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
        if is_number and 0 <= tolerance <= 1:
            return FloatChecker(float(tolerance))
        read.problem("checker.float", "a number from 0 to 1")
        return "tokens"
    if isinstance(value, dict):
        return _read_program(read, "checker", value, present) or "tokens"
    read.problem("checker", 'exact, lines, tokens, {float = 1e-6} or {program = "check.py"}')
    return "tokens"


def _read_program(
    read: TableReader, key: str, value: Any, present: Collection[str]
) -> Program | None:
    if value is None:
        return None
    table = {"program": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        read.problem(key, 'a file, or {program = "talk.py"}')
        return None
    inner = TableReader(table, f"{key}.", read.problems)
    name = inner.text("program")
    program = Program(name or "", inner.strings("files"), inner.strings("compile"))
    inner.end()
    if name is None:
        read.problem(f"{key}.program", "is missing")
        return None
    _must_be_present(inner, "files", program.needed, present)
    return program


def _must_be_present(
    read: TableReader, key: str, names: Sequence[str], present: Collection[str]
) -> None:
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            read.problem(key, f"{name!r} is no path of a file in the grader's folder")
        elif name not in present:
            read.problem(key, f"there is no file {name}")


def _read_cases(
    read: TableReader, present: Collection[str], *, needs_answer: bool
) -> tuple[Case, ...]:
    tables = read.get("cases")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        read.problem("cases", "at least one [[cases]] is needed")
        return ()
    if len(tables) > MOST_CASES:
        read.problem("cases", f"at most {MOST_CASES}")
        return ()
    cases = [
        _read_case(TableReader(table, f"cases[{number}].", read.problems), present, needs_answer)
        for number, table in enumerate(tables, 1)
    ]
    names = [case.name for case in cases]
    for name in sorted({name for name in names if names.count(name) > 1}):
        read.problem("cases", f"{name!r} is the name of more than one")
    return tuple(cases)


def _read_case(read: TableReader, present: Collection[str], needs_answer: bool) -> Case:
    given = read.text("input") or ""
    answer = read.text("answer")
    output = read.text("output")
    if answer is not None and output is not None:
        read.problem("output", "is another word for answer: one of them is enough")
    answer = answer or output or ""
    wanted = {"input": given, "answer": answer} if needs_answer or answer else {"input": given}
    for key, name in wanted.items():
        if not name:
            read.problem(key, "is missing")
        else:
            _must_be_present(read, key, (name,), present)
    name = read.text("name") or given.rpartition("/")[2].rpartition(".")[0] or given
    if name and not _CASE_NAME.fullmatch(name):
        read.problem("name", "at most 64 letters, digits, blanks, dots, dashes, underscores")
    case = Case(
        name,
        given,
        answer,
        read.number("points", 1.0, 0, 1_000_000),
        read.one_of("visibility", "hidden", VISIBILITIES) == "visible",
    )
    read.end()
    return case


def _read_groups(read: TableReader, cases: Sequence[str]) -> tuple[Group, ...]:
    tables = read.get("groups")
    if tables is None:
        return ()
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        read.problem("groups", "a list of [[groups]]")
        return ()
    groups: list[Group] = []
    taken: set[str] = set()
    for number, table in enumerate(tables, 1):
        inner = TableReader(table, f"groups[{number}].", read.problems)
        group = Group(
            inner.text("name") or f"group {number}",
            inner.strings("cases", needed=True),
            inner.strings("depends_on"),
        )
        inner.end()
        for name in group.cases:
            if name not in cases:
                inner.problem("cases", f"there is no case {name!r}")
            elif name in taken:
                inner.problem("cases", f"{name!r} is in more than one group")
            taken.add(name)
        for name in group.depends_on:
            if name not in [other.name for other in groups]:
                inner.problem("depends_on", f"there is no group {name!r} before this one")
        if group.name in [other.name for other in groups]:
            inner.problem("name", f"{group.name!r} is the name of more than one")
        groups.append(group)
    return tuple(groups)
