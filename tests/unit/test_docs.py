"""The documentation says what the code does: names in tables against names in the code."""

import re
import tomllib
from pathlib import Path

import pytest

from chalicelib import apps
from chalicelib.config import VARIABLES
from chalicelib.contract import Env
from chalicelib.contract.jobs import JobEnv
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
    assert described == set(apps._APP) | set(apps._POOL) | set(apps._PLACEMENT)


def test_every_key_of_a_stage_file_is_described_and_no_other():
    described = first_cells("getting-started-on-aws.md", "## The stage file")
    assert {key.strip("[]") for key in described} == settings._KEYS


@pytest.mark.parametrize(
    "file", sorted((ROOT / "infra" / "stages").glob("*.toml")), ids=lambda f: f.stem
)
def test_stage_files_name_parameters_that_exist(file):
    declared = load_template((ROOT / "infra" / "template.yaml").read_text("utf-8"))["Parameters"]
    assert set(tomllib.loads(file.read_text("utf-8"))["parameters"]) <= set(declared)


def test_tests_that_are_named_as_proof_exist():
    text = (DOCS / "security.md").read_text("utf-8")
    named = re.findall(r"`((?:unit|integration|browser|attacks)/[\w/]+\.py)`", text)
    assert len(named) > 10
    for name in named:
        assert (ROOT / "tests" / name).is_file(), name


@pytest.mark.parametrize("document", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target
