"""The output of `chalice package` for this project and infra/template.yaml, made once a run."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from infra.deploy.finish import finish
from local.aws.template import load_template

ROOT = Path(__file__).parents[3]


def package(folder: Path, stage: str, **environment: str) -> Path:
    """The merged template of a stage. Chalice keeps the deployment package between runs."""
    chalice = str(Path(sys.executable).with_name("chalice"))
    template = ["--merge-template", "infra/template.yaml", "--template-format", "yaml"]
    subprocess.run(
        [chalice, "package", "--stage", stage, *template, str(folder)],
        cwd=ROOT,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1", **environment},
        check=True,
        capture_output=True,
    )
    return folder / "sam.yaml"


@pytest.fixture(scope="session")
def merged(tmp_path_factory):
    """The files of both kinds of deployment: by direct feed, by fan-out feed."""
    fan_out = {"FEED_URL": "rediss://valkey.invalid:6379/updates"}
    return {
        "kinesis": package(tmp_path_factory.mktemp("direct"), "dev"),
        "valkey": package(tmp_path_factory.mktemp("fanout"), "prod", **fan_out),
    }


@pytest.fixture(scope="session")
def templates(merged):
    return {feed: load_template(path.read_text("utf-8")) for feed, path in merged.items()}


@pytest.fixture(scope="session")
def translated(templates):
    """The template of a direct feed after SAM's transform, which AWS publishes as a library."""
    finished = finish(templates["kinesis"], code="s3://bucket/code", architecture="x86_64")
    values = {name: str(p.get("Default", "x")) for name, p in finished["Parameters"].items()}
    session = boto3.session.Session(region_name="eu-west-1")
    return Translator({}, Parser(), None, session).translate(finished, values)
