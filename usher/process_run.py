"""`usher run` as a process of this machine, which enforces the limits."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalicelib.contract.jobs import JobEnv
from usher.cpu import limit_cpu
from usher.docker_run import TMP_MIB
from usher.local_coordinator import LocalCoordinator, local_settings
from usher.log import say
from usher.processes import HAS_PROC, end_with_parent
from usher.protocol import Limits, StartPermit, announcement
from usher.wrapper import Place, run_job


def run_as_process(
    description: Mapping[str, Any],
    parameters: Any,
    project: Path,
    on_result: Callable[[Any], None],
    limits: Limits,
) -> int:
    """Run the job; returns the exit code, in this process and in the child that runs the job: exit
    with it.

    The job runs in the project's directory, as in its image.
    """
    name = description["name"]
    settings = local_settings(name)
    cpu = limit_cpu(description["cpu"])
    memory = "watched over all its processes" if HAS_PROC else "not watched: there is no /proc"
    say(
        f"usher: as a process: cpu {description['cpu']} ({cpu.enforced}), memory "
        f"{description['memory']} MiB ({memory}); files and network are this machine's; "
        f"its /tmp is not bounded, on ECS it has {TMP_MIB} MiB, which count towards memory"
    )
    os.environ |= {
        **description["environment"],
        JobEnv.INVOCATION_ID: settings.invocation_id,
        JobEnv.INVOCATION_ATTEMPT: str(settings.attempt),
        JobEnv.JOB_NAME: name,
        JobEnv.JOB_REVISION: settings.revision,
        "PYTHONUNBUFFERED": "1",
    }
    os.chdir(project)
    permit = StartPermit(name, parameters, float(description["timeoutSeconds"]))

    def prepare() -> None:
        end_with_parent()
        cpu.join()

    place = Place(project, description["memory"] if HAS_PROC else None, prepare)
    us = os.getpid()
    code = run_job(announcement(settings), LocalCoordinator(permit, on_result), place, limits)
    if os.getpid() == us:
        cpu.remove()
    return code
