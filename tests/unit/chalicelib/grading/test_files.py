"""A judge's URLs allow one method on one object for a bounded time."""

from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.clients import clients_for
from chalicelib.config import load_config
from chalicelib.grading.files import GradingFiles
from local.aws.iam.authorizer import expired
from local.aws.wire import Request


@pytest.fixture
def files(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients = clients_for(load_config({"STAGE": "test", "AWS_REGION": "eu-west-1"}))
    return GradingFiles(lambda: clients.create("s3"), "bucket")


def test_each_url_names_its_object_and_its_end(files):
    urls = {
        "graders/a.zip": files.readable_for("graders/a.zip", 60),
        "results/g/1/author.json": files.writable_for("results/g/1", 60)["author"],
        "results/g/1/learner.json": files.writable_for("results/g/1", 60)["learner"],
    }
    signatures = set()
    for key, url in urls.items():
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        assert parts.path == f"/{key}"
        assert query["X-Amz-Expires"] == ["60"]
        assert query["X-Amz-SignedHeaders"] == ["host"]
        signatures |= set(query["X-Amz-Signature"])
    assert len(signatures) == 3


def test_a_url_that_reads_is_signed_otherwise_than_one_that_writes(files):
    reads = parse_qs(urlsplit(files.readable_for("results/g/author.json", 60)).query)
    writes = parse_qs(urlsplit(files.writable_for("results/g", 60)["author"]).query)
    assert reads["X-Amz-Signature"] != writes["X-Amz-Signature"]


def test_the_embedded_cloud_takes_none_that_has_ended():
    target = "/bucket/key?X-Amz-Date=20270101T000000Z&X-Amz-Expires=60"
    request = Request("GET", target, {}, b"", keep_alive=True)
    began = 1_798_761_600.0
    assert not expired(request, began + 60)
    assert expired(request, began + 61)
