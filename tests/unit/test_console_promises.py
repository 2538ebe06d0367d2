"""docs/console.md: what is complained about elsewhere has a test here, or a sentence why not."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "console.md").read_text("utf-8")
CLAIM = re.compile(r"`([a-z_/]+\.py)::(\w+)`")
SENTENCE = re.compile(r"cannot (happen|be)\b.{20}")


def rows() -> list[list[str]]:
    section = TEXT.split("## What others are complained about\n", 1)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_each_complaint_names_its_sources_and_a_test_or_the_reason_why_there_is_none():
    found = rows()
    assert len(found) == 15
    for complaint, where, here in found:
        assert re.search(r"#\d+|CVE-\d+", where), complaint
        assert CLAIM.search(here) or SENTENCE.search(here), complaint


def test_the_tests_exist():
    claims = [claim for *_, here in rows() for claim in CLAIM.findall(here)]
    assert len(claims) >= 15
    for path, name in claims:
        source = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"^def {name}\(", source, re.M), (path, name)
