"""Runs of lines that two folders share: what stands twice and could stand once.

Lines are compared without white space, and without the words for what each folder is about.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_WORDS = re.compile(r"sessions?|invocations?|jobs?|apps?|(?:app|revision)_?state", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A line of code, without its white space."""

    path: Path
    number: int
    text: str
    normal: str
    """The part of the text that is compared."""


@dataclass(frozen=True)
class Run:
    """Lines of one file that stand again in another."""

    here: tuple[Line, ...]
    there: tuple[Line, ...]

    def __str__(self) -> str:
        places = (f"{lines[0].path}:{lines[0].number}-{lines[-1].number}"
                  for lines in (self.here, self.there))  # fmt: skip
        return " ~ ".join(places) + "".join(f"\n    {line.text}" for line in self.here)


def code_of(path: Path) -> list[Line]:
    """The lines of a module that are no declarations: without blank lines, comments, docstrings,
    imports, signatures, fields of classes, and constructors that only keep what they are given.
    """
    source = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        left_out.update(_declared(node))
    return [
        Line(path, number, text, _WORDS.sub("record", text))
        for number, text in enumerate(map(str.strip, source.splitlines()), 1)
        if number not in left_out and text.strip("()[]{},") and not text.startswith("#")
    ]


def runs_between(one: Sequence[Path], other: Sequence[Path], least: int) -> list[Run]:
    """All longest runs of `least` lines and more that a file of each side has."""
    ours, theirs = (list(map(code_of, paths)) for paths in (one, other))
    return [run for here in ours for there in theirs
            for run in _runs(here, there, least)]  # fmt: skip


def _runs(here: list[Line], there: list[Line], least: int) -> Iterator[Run]:
    places = defaultdict(list)
    for index, line in enumerate(there):
        places[line.normal].append(index)
    for start, line in enumerate(here):
        for match in places[line.normal]:
            if start and match and here[start - 1].normal == there[match - 1].normal:
                continue  # a part of a run that begins earlier
            length = 0
            for left, right in zip(here[start:], there[match:], strict=False):
                if left.normal != right.normal:
                    break
                length += 1
            if length >= least:
                yield Run(tuple(here[start : start + length]), tuple(there[match : match + length]))


def _declared(node: ast.AST) -> Iterable[int]:
    """The lines of a declaration that begins here."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return range(node.lineno, node.end_lineno + 1)
        case ast.FunctionDef(name="__init__", body=body) if all(map(_keeps, body)):
            return range(node.lineno, node.end_lineno + 1)
        case ast.FunctionDef():
            return range(node.lineno, node.body[0].lineno)
        case ast.ClassDef():
            fields = (s for s in node.body if isinstance(s, ast.Assign | ast.AnnAssign))
            lines = (range(field.lineno, field.end_lineno + 1) for field in fields)
            begin = min(line.lineno for line in [node, *node.decorator_list])
            return chain(range(begin, node.body[0].lineno), *lines)
        case _:
            return ()


def _keeps(statement: ast.stmt) -> bool:
    """Whether it is `self.x = y`, or the docstring."""
    match statement:
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"))], value=ast.Name()):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case _:
            return False
