"""Unknown clients send input that a parser does not expect: bytes, numbers, escapes, depth.

Goal: an unhandled exception, or a function that is kept busy. Reach: everything that is parsed of a
request, a message, a record, a description. Each parser is tried on its corpus and on some thousand
inputs like it; `make fuzz` searches longer, guided by coverage. Inputs that it finds are added to
the corpus with the fix.
"""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.needs import needs_atheris

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
MUTATIONS = 200
WORDS = [b"0", b"9" * 40, b"-1", b"\\ud800", b"null", b"1e999", b"\xff", b"\0"]


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_understands_or_refuses_its_corpus(name):
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        TARGETS[name](file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_understands_or_refuses_what_is_like_its_corpus(name):
    seeds = [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]
    chance = random.Random(name)
    for _ in range(MUTATIONS):
        data = mutated(chance.choice(seeds), chance.choice(seeds), chance)
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name} on {data!r}") from error


def mutated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four changes: a byte, a cut, a repetition, a part of another input."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        end = chance.randint(at, len(data))
        middle = chance.choice(
            [
                chance.randbytes(chance.randint(0, 4)),
                data[at:end] * 3,
                other[: chance.randint(0, len(other))],
                chance.choice(
                    [b"0", b"9" * 40, b"-1", b"\\ud800", b"null", b"1e999", b"\xff", b"\0"]
                ),
            ]
        )
        data = data[:at] + middle + data[end:]
    return data[:2048]


def test_every_corpus_belongs_to_a_target_and_is_small():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) < 500_000


@needs_atheris
def test_the_search_guided_by_coverage_adds_what_reached_new_code_to_the_corpus(tmp_path):
    name = "resume_cursor"
    shutil.copytree(CORPUS / name, tmp_path / name)
    before = {file.name for file in (CORPUS / name).iterdir()}
    command = [sys.executable, "-m", "tests.fuzz", "--runs", "2000", "--keep"]
    done = subprocess.run(
        [*command, "--corpus", str(tmp_path), name],
        cwd=CORPUS.parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "found nothing" in done.stdout
    assert before <= {file.name for file in (tmp_path / name).iterdir()}
    assert "MERGE-OUTER: consumed" in done.stderr
    assert "attempt 2" not in done.stderr, "libFuzzer could not start itself again"
