"""`usher run --docker` sets the limits that a job's task definition sets."""

from itertools import pairwise

from chalicelib.jobs.task_definitions import SCRATCH_MIB, STOP_TIMEOUT_SECONDS
from usher.docker_run import run_command

DESCRIPTION = {"name": "report", "cpu": 512, "memory": 64, "environment": {"A": "b"}}


def test_the_limits_are_those_on_ecs():
    command = run_command("image", DESCRIPTION)
    options = dict(pairwise(command))
    assert options["--tmpfs"] == f"/tmp:rw,nosuid,nodev,size={SCRATCH_MIB}m"
    assert options["--memory"] == options["--memory-swap"] == "64m"  # /tmp counts towards it
    assert options["--cpus"] == "0.5"
    assert options["--stop-timeout"] == str(STOP_TIMEOUT_SECONDS)
    assert "--read-only" in command
