"""Identifiers use standard terms: these words of earlier versions do not come back.

docs/glossary.md has the terms that replace them.
"""

import ast
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


def retired_in(path: Path) -> list[str]:
    """Where a file uses a retired word as a part of an identifier."""
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
