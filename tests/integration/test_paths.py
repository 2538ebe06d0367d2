"""The paths of requests through the packages are those that docs/architecture.md lists."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from chalicelib.jobs.model import Priority
from tests.integration.job_lab import JobLab
from tests.integration.lab import Lab

ROOT = Path(__file__).parents[2]
PACKAGES = f"{ROOT / 'chalicelib'}/"
SECTION = re.compile(r"^### Three requests through the house$(.*?)^### ", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"^- \*\*(.+?)\*\*: (.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)
HTTP = re.compile(r"api/|(sessions|jobs)/(requests|answers)\.py")
"""The labs call the services as `api/` does, so parsing and rendering are not entered."""
APPS = '[apps.cold]\nimage = "any"\n[apps.warm]\nimage = "any"\npool = {minimum = 1, maximum = 1}\n'


def documented() -> dict[str, list[str]]:
    """The files of each path below `chalicelib`, by the path's name."""
    section = SECTION.search((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert section is not None
    return {
        name: re.findall(r"`([a-z_]+/[a-z_]+\.py)`", steps)
        for name, steps in PATH.findall(section[1])
    }


@contextmanager
def entered() -> Iterator[list[str]]:
    """Collects the files of `chalicelib` whose functions are called, in the order of the calls."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGES) and frame.f_code.co_name != "<module>":
            found.append(name.removeprefix(PACKAGES))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


def check(name: str, calls: list[str]) -> None:
    """Fails unless the calls enter the files of a documented path in its order."""
    rest = iter(calls)
    for file in documented()[name]:
        assert (ROOT / "chalicelib" / file).is_file(), f"{name}: {file} does not exist"
        assert HTTP.match(file) or file in rest, f"{name}: {file} is not entered there: {calls}"


def test_sessions_take_the_documented_paths(session_lab: Lab) -> None:
    lab = session_lab
    lab.fresh(APPS)
    services = lab.process()
    dispatch = services.sessions.service.dispatch
    lab.sweep(services)
    lab.send_all(services)
    lab.deliver_events(services)
    lab.indexes_catch_up()
    with entered() as calls:
        assert dispatch(lab.request("warm", "ann")).pooled
    check("A warm `GET /session`", calls)
    with entered() as calls:
        dispatch(lab.request("cold", "ann"))
    check("A cold one", calls)
    with entered() as calls:
        lab.deliver_events(services)
    check("An event or a callback of a session", calls)
    with entered() as calls:
        lab.send_all(services)
    check("An event or a callback of a session", calls)


def test_jobs_take_the_documented_paths(job_lab: JobLab) -> None:
    lab = job_lab
    lab.begin()
    services = lab.process()
    invocations = services.jobs.invocations
    with entered() as calls:
        draft = invocations.draft(
            job="report",
            owner="ann",
            parameters=None,
            callback_base_url="http://dispatcher",
            priority=Priority.LOW,
        )
        invocations.accept(draft)
    check("An invocation", calls)
    with entered() as calls:
        services.jobs.launcher.run()
    check("The wake-up message", calls)
    container = lab.job_of(draft.id)
    with entered() as calls:
        lab.ask(services, container)
    check("The start permit", calls)
    lab.end(container)
    with entered() as calls:
        lab.report(services, container)
    check("The report of a run", calls)
