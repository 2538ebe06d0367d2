"""Cost of a cold start: neither the import of app.py nor the construction of the services loads a
client of AWS or of Redis; each client is built when it is first used.
"""

import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.api import COLLECT_AFTER
from chalicelib.clients import READ_TIMEOUT_SECONDS, LazyClient, clients_for
from chalicelib.config import load_config

ROOT = Path(__file__).parents[3]


def modules_after(script):
    """Returns the modules that a process has loaded after `script`."""
    told = subprocess.run(
        [sys.executable, "-c", f"{script}; import sys; print(*sorted(sys.modules))"],
        cwd=ROOT,
        env=os.environ | {"STAGE": "local", "AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.split())


def test_importing_the_app_brings_no_client_with_it():
    heavy = {"boto3", "botocore.client", "redis", "urllib3", "ssl"}
    heavy |= {"tarfile", "zipfile", "html", "chalicelib.grading.requests"}
    assert heavy.isdisjoint(modules_after("import app"))


NOT_FOR_A_CLAIM = {
    f"chalicelib.{name}"
    for name in (
        "audit.items",
        "ecs.hosts",
        "feed.records",
        "sessions.app_answers",
        "sessions.registry",
    )
}
"""Modules that only other routes than claims of sessions need; and all of jobs and schedules."""


@pytest.mark.parametrize(
    "script", ["import app", "import app; from chalicelib.wiring import services; services()"]
)
def test_a_claim_pays_for_no_other_room(script):
    found = modules_after(script)
    assert NOT_FOR_A_CLAIM.isdisjoint(found)
    others = ("chalicelib.jobs", "chalicelib.schedules", "chalicelib.api.reference")
    assert sorted(name for name in found if name.startswith(others)) == []


def test_a_cold_start_is_not_spent_on_collecting_garbage():
    shown = "import app, gc, sys; sys.modules[f'threshold.{gc.get_threshold()[0]}'] = gc"
    assert f"threshold.{COLLECT_AFTER}" in modules_after(shown)


def test_building_the_services_makes_no_client_and_imports_no_room_but_the_sessions():
    found = modules_after("import app; from chalicelib.wiring import services; services()")
    assert "chalicelib.sessions.service" in found
    unneeded = {"boto3", "botocore.client", "redis", "urllib3", "ssl"}
    unneeded |= {"chalicelib.jobs.service", "chalicelib.schedules.service"}
    unneeded |= {"chalicelib.sessions.pool_reconciler", "chalicelib.sessions.sweep"}
    assert unneeded.isdisjoint(found)


def test_a_client_is_built_once_by_whoever_uses_it_first():
    built = []

    def build():
        built.append(1)
        return Counter(a=1)

    client = LazyClient(build)
    assert built == []
    start = threading.Barrier(8)

    def use(_):
        start.wait()
        return client.most_common()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == [[("a", 1)]] * 8
    assert built == [1]


def test_a_client_that_could_not_be_built_is_tried_again():
    answers = iter([OSError("no region"), Counter()])

    def build():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    client = LazyClient(build)
    with pytest.raises(OSError, match="no region"):
        client.total()
    assert client.total() == 0


def test_the_clients_have_this_deployments_settings():
    clients = clients_for(load_config({"STAGE": "local", "AWS_REGION": "ap-south-1"}))
    assert clients.sqs.meta.region_name == "ap-south-1"
    assert clients.create("logs").meta.config.read_timeout == READ_TIMEOUT_SECONDS
    assert clients.create("sqs") is clients.sqs


def test_urls_of_objects_name_the_region_of_their_bucket(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    s3 = clients_for(load_config({"STAGE": "test", "AWS_REGION": "eu-north-1"})).create("s3")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "key"})
    assert url.startswith("https://bucket.s3.eu-north-1.amazonaws.com/key?X-Amz-Algorithm=AWS4")
