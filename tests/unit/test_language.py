"""Retired words do not come back in identifiers, nor riddles in docstrings and comments.

docs/glossary.md has the terms that replace them.
"""

import ast
import io
import os
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("app.py", "chalicelib", "session_handler", "usher", "local", "infra", "conformance")
RETIRED = frozenset(
    {
        "knock", "fence", "leave", "grant", "tend", "tending", "superior", "ear", "ears", "seat",
        "desk", "chance", "hear", "hears", "heard", "told", "said", "holds", "unwire", "words",
        "room", "rare",
    }
)  # fmt: skip
ALLOWED = {
    ("usher/cli/completion.py", "words"): "what shells call the words of a command line",
}


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Names that a file defines or uses, with their lines."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.keyword(arg=str(name)):
                yield node.lineno, name


def files() -> list[Path]:
    """Every Python file of the product."""
    places = [ROOT / name for name in PRODUCT]
    found = [place for place in places if place.is_file()]
    return sorted({*found, *(path for place in places for path in place.rglob("*.py"))})


def files_of_tests() -> list[Path]:
    """Every Python file of the tests, without installed packages."""
    found = []
    for folder, folders, names in os.walk(ROOT / "tests"):
        folders[:] = [name for name in folders if name not in {"node_modules", ".venv"}]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found)


def retired_in(path: Path) -> list[str]:
    """Returns the uses of retired words as a part of an identifier in a file."""
    name = path.relative_to(ROOT).as_posix()
    return [
        f"{name}:{line}: {identifier}"
        for line, identifier in identifiers(path)
        if RETIRED & set(identifier.lower().strip("_").split("_"))
        and (name, identifier) not in ALLOWED
    ]


def test_no_identifier_has_a_retired_word():
    assert [use for path in files() for use in retired_in(path)] == []


@pytest.mark.parametrize("source", ["told = 1", "def hear(): ...", "x._room", "f(holds=1)"])
def test_a_retired_word_is_found(source, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.unit.test_language.ROOT", tmp_path)
    (tmp_path / "module.py").write_text(source, "utf-8")
    assert len(retired_in(tmp_path / "module.py")) == 1


RIDDLES = {
    "what": r"^What\b",
    "so many": r"^So\s+(many|much|often|long)\b",
    "somebody": r"^(Nobody|Somebody|Everybody|Anybody)\b",
    "goes wrong": r"\bgo(es)?\s+wrong\b",
    "so many-th": r"\bso\s+many-th\b",
    "who": r"^(Who|Whom|Whoever|Whatever)\b",
    "knows no": r"\bknows?\s+(no|nothing|nobody)\b",
    "lets go": r"\blets?\s+go\b",
    "whoever": r"\b(whoever|whomever)\b",
    "to be had": r"\bto\s+be\s+had\b",
    "for good": r"\bfor\s+good\b",
    "in vain": r"\bin\s+vain\b",
    "what becomes of": r"\bwhat\s+becomes\s+of\b",
    "of": r"^Of\b",
    "those": r"^Those\b",
    "from now on": r"^From\s+now\s+on\b",
    "as may": r"\bas\s+may\b",
    "for people": r"\bfor\s+people\b",
    "whatever": r"\bwhatever\b",
    "dies": r"\b(dies|died)\b",
}
MAYBE = re.compile("|".join(RIDDLES.values()).replace("^", r"\b"))
"""Finds each of them, whitespace apart, and more."""


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings, texts below declarations, and comments, each in one line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, " ".join(text.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def riddles_in(source: str) -> list[tuple[int, str]]:
    """Lines and names of the phrases in a source that are not plain technical English."""
    if not MAYBE.search(source):  # parsing all files takes seconds
        return []
    return [
        (line, name)
        for line, text in texts(source)
        for name, pattern in RIDDLES.items()
        if re.search(pattern, text)
    ]


def riddles_below(paths: list[Path]) -> dict[str, list[tuple[int, str]]]:
    """Lines and names of riddles by file, without files that have none."""
    found = {p.relative_to(ROOT).as_posix(): riddles_in(p.read_text("utf-8")) for p in paths}
    return {name: lines for name, lines in found.items() if lines}


def test_no_text_of_the_product_is_a_riddle():
    assert riddles_below(files()) == {}


def test_no_text_of_the_tests_is_a_riddle():
    assert ROOT / "tests" / "integration" / "lab.py" in files_of_tests()
    assert riddles_below(files_of_tests()) == {}


@pytest.mark.parametrize(
    "source",
    [
        '"""Who may read a session."""',
        "x = 1\n'''It knows nothing of jobs.'''",
        "f()  # whoever did it",
        'def f():\n    """What the sweep does."""',
        "f()  # So many wait.",
        "x = 1\n'''Of each owner.'''",
        'def f():\n    """Those that wait."""',
        "f()  # as many as may",
    ],
)
def test_a_riddle_is_found(source):
    assert len(riddles_in(source)) == 1
