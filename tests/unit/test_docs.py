"""Names in the documentation's tables are compared with names in the code."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from chalicelib import apps, task_placement
from chalicelib.config import VARIABLES
from chalicelib.contract import Env
from chalicelib.contract.jobs import JobEnv
from infra.api_page import PAGE, render
from infra.deploy import settings
from local.aws.template import load_template

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def first_cells(document, heading):
    """The code words in the first column of the tables below a heading."""
    text = (DOCS / document).read_text("utf-8")
    section = re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_every_variable_of_the_dispatcher_is_described_and_no_other():
    assert first_cells("contracts.md", "## The dispatcher's environment") == set(VARIABLES)


def test_every_variable_of_a_container_is_described():
    assert {str(name) for name in Env} <= first_cells("contracts.md", "### Environment")


def test_every_variable_of_a_jobs_container_is_described():
    described = first_cells("contracts.md", "## The container of a job")
    assert {str(name) for name in JobEnv} <= described


def test_every_key_of_the_apps_file_is_described_and_no_other():
    described = first_cells("contracts.md", "## The apps file")
    described -= {"[apps.NAME.pool]", "[apps.NAME.placement]"}
    assert described == set(apps._APP) | set(apps._POOL) | task_placement.KEYS


def test_every_key_of_a_stage_file_is_described_and_no_other():
    described = first_cells("getting-started-on-aws.md", "## The stage file")
    assert {key.strip("[]") for key in described} == settings._KEYS


@pytest.mark.parametrize(
    "file", sorted((ROOT / "infra" / "stages").glob("*.toml")), ids=lambda f: f.stem
)
def test_stage_files_name_parameters_that_exist(file):
    declared = load_template((ROOT / "infra" / "template.yaml").read_text("utf-8"))["Parameters"]
    assert set(tomllib.loads(file.read_text("utf-8"))["parameters"]) <= set(declared)


def test_the_index_sorts_every_document():
    text = (DOCS / "README.md").read_text("utf-8")
    documents = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert {name for name in documents if f"]({name})" not in text} == set()


def test_every_decision_is_dated_and_listed_and_has_its_three_parts():
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    index = (DOCS / "decisions" / "README.md").read_text("utf-8")
    assert [f"{number:04}" for number in range(1, len(records) + 1)] == [
        record.name[:4] for record in records
    ]
    for record in records:
        text = record.read_text("utf-8")
        assert f"]({record.name})" in index
        assert re.search(r"^Recorded \d{4}-\d{2}-\d{2}\.", text, flags=re.M), record.name
        headings = re.findall(r"^## (.+)$", text, flags=re.M)
        assert headings == ["Context", "Decision", "Consequences"], record.name


@pytest.mark.parametrize("document", sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


def test_the_page_of_the_api_is_current():
    assert PAGE.read_text("utf-8") == render(), "run `make api-docs`"


def test_every_action_that_a_policy_allows_is_told_by_whom_it_was_verified():
    told = first_cells("verified.md", "### Call by call")
    named = {word.rpartition(":")[2] for word in told}
    files = [*(ROOT / ".chalice").glob("policy-*.json"), ROOT / "infra" / "template.yaml"]
    services = {word.partition(":")[0] for word in told if ":" in word}
    pattern = rf"\b({'|'.join(sorted(services))}):([A-Z][A-Za-z]+)"
    allowed = {
        match[2] for file in files for match in re.finditer(pattern, file.read_text("utf-8"))
    }
    assert allowed - named == {"CreateAction"}, "which is the name of a condition key"
    assert {action.partition(":")[0] for action in actions_of_policies()} - services == {"iam"}


def actions_of_policies() -> set[str]:
    """Every action that a policy of a function allows; `iam:PassRole` is no call."""
    found: set[str] = set()
    for file in (ROOT / ".chalice").glob("policy-*.json"):
        for statement in json.loads(file.read_text("utf-8"))["Statement"]:
            action = statement["Action"]
            found |= {action} if isinstance(action, str) else set(action)
    return found


def test_the_table_of_changes_names_files_in_their_folders():
    text = (DOCS / "architecture.md").read_text("utf-8")
    table = text.partition("### Where do I change")[2].partition("\n##")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    for change, folders, files in rows:
        places = [ROOT / folder for folder in re.findall(r"`([\w/]+/)`", folders)]
        assert places, change
        assert all(place.is_dir() for place in places), change
        for name in re.findall(r"`([\w./*-]+)`", files):
            inside = [match for place in places for match in place.glob(name)]
            assert inside or list(ROOT.glob(name)), f"{change}: {name}"
