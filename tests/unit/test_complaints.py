"""Each known complaint about similar systems has a test here, or a reason why it cannot happen."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = {
    "console.md": "## What others are complained about\n",
    "compared.md": "## What users of similar systems report\n",
}
CLAIM = re.compile(r"`([a-z_/]+\.py)::(\w+)`")
SENTENCE = re.compile(r"cannot (happen|be)\b.{20}")


def rows(document: str) -> list[list[str]]:
    text = (ROOT / "docs" / document).read_text("utf-8")
    section = text.split(TABLES[document], 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("document", TABLES)
def test_each_complaint_names_its_sources_and_a_test_or_the_reason_why_there_is_none(document):
    found = rows(document)
    assert len(found) == 15
    for complaint, where, here in found:
        assert re.search(r"#\d+|CVE-\d+", where), complaint
        assert CLAIM.search(here) or SENTENCE.search(here), complaint


@pytest.mark.parametrize("document", TABLES)
def test_the_tests_exist(document):
    claims = [claim for *_, here in rows(document) for claim in CLAIM.findall(here)]
    assert len(claims) >= 15
    for path, name in claims:
        source = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"^def {name}\(", source, re.M), (path, name)
