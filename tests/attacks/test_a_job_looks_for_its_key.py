"""A job's code looks for the key of its invocation.

Goal: report as the container's main process: another result, a false end. Reach: its own
environment and memory, and what /proc shows of its parent. It has no capabilities, as in a
container; with CAP_SYS_PTRACE or CAP_PERFMON the kernel lets it read its parent.
"""

import os
import subprocess
import sys

import pytest

from chalicelib.contract.jobs import JobEnv
from tests.integration.usher_fake import KEY, PROJECT, FakeDispatcher, environment, serve
from tests.needs import needs_setpriv

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
WITHOUT_CAPABILITIES = (
    ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all") if os.geteuid() == 0 else ()
)


@pytest.fixture
def fake():
    fake = FakeDispatcher()
    with serve(fake):
        yield fake


def run(fake: FakeDispatcher, *before: str, **variables: str) -> dict[str, object]:
    begins, _, ends = KEY.partition("-")
    fake.job, fake.parameters = "spy", {"begins": begins, "ends": ends}
    command = [*before, sys.executable, "-m", "usher.entry"]
    told = {
        JobEnv.INVOCATION_ID: "5e1f",
        JobEnv.INVOCATION_ATTEMPT: "1",
        JobEnv.INVOCATION_KEY: KEY,
        JobEnv.INVOCATION_URL: f"{fake.url}/invocations/5e1f",
        JobEnv.JOB_NAME: "spy",
        JobEnv.JOB_REVISION: "7",
    }
    env = environment(**{str(name): value for name, value in told.items()}, **variables)
    subprocess.run(command, cwd=PROJECT, env=env, check=True, timeout=60)
    (finish,) = fake.requests_of("finish")
    return finish["result"]


def test_it_is_nowhere_in_the_job_itself(fake):
    found = run(fake)
    assert {name: value for name, value in found.items() if "parent" not in name} == {
        "variables": False, "self environ": False, "self cmdline": False, "self mem": False,
    }  # fmt: skip
    assert found["parent cmdline"] is False


@needs_setpriv
def test_the_parent_shows_neither_its_environment_nor_its_memory(fake):
    found = run(fake, *WITHOUT_CAPABILITIES)
    assert found["parent environ"] == "PermissionError"
    assert found["parent mem"] == "PermissionError"
