"""A cloud for the console's tests: callers of each role, hostile records, a job that talks."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from tests.integration.conftest import ROOT, RunningCloud, launch, wait_until

HOSTILE = "<img src=x onerror=document.title='owned'>"
"""A name that runs as a script in a page that inserts it as HTML."""
TALL = 2**53 + 1
KEYS = {"opal": "key of opal", "vic": "key of vic", HOSTILE: "key of mallory"}
TALKS = '''
import sys
import time

from pydantic import BaseModel, Field

from usher import Job


class Talks(Job):
    """Prints its lines, then waits for `seconds`."""

    class Parameters(BaseModel):
        lines: list[str] = Field(default=["one"], description="What is printed.")
        seconds: float = Field(default=0, title="Seconds", description="How long it waits then.")
        number: int = 1
        loud: bool = False

    def run(self, parameters):
        for line in parameters.lines:
            print(line, flush=True)
        time.sleep(parameters.seconds)
        return {"said": len(parameters.lines), "number": parameters.number}
'''
SCHEMA = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["one"],
            "description": f"What is printed. {HOSTILE}",
        },
        "seconds": {"type": "number", "default": 0, "title": "Seconds"},
        "number": {"type": "integer", "default": 1},
        "loud": {"type": "boolean", "default": False},
    },
}


def launch_stage(folder: Path, **options: Any) -> RunningCloud:
    """The cloud with operator `opal`, viewer `vic` and an owner whose name is hostile."""
    keys = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    environment = {"AUTH_MODE": "api_key", "API_KEYS": keys, "OPERATORS": "opal", "VIEWERS": "vic"}
    return launch(folder, environment=environment, **options)


def as_(name: str) -> dict[str, str]:
    """The headers of a caller."""
    return {"X-Api-Key": KEYS[name]}


def register_talks(cloud: RunningCloud, folder: Path) -> None:
    """Deploy the job `talks`."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "talks.py").write_text(TALKS, encoding="utf-8")
    (folder / "requirements.txt").touch()
    shutil.copy(ROOT / "usher" / "Dockerfile", folder / "Dockerfile")
    folder.chmod(0o755)
    description = {"name": "talks", "cpu": 16, "memory": 64, "parameters": SCHEMA}
    body = {"image": f"dir:{folder}", "description": description}
    status, answer = cloud.http("PUT", "/jobs/talks", body, as_("opal"), timeout=300)
    assert status == 200, answer


def invoke(cloud: RunningCloud, who: str = "opal", **parameters: Any) -> str:
    """Run `talks`; the invocation's id."""
    body = {"parameters": parameters}
    status, made = cloud.http("POST", "/jobs/talks/invocations", body, as_(who))
    assert status == 201, made
    return str(made["id"])


def invocation(cloud: RunningCloud, invocation_id: str) -> dict[str, Any]:
    """The invocation as it is now."""
    found: dict[str, Any] = cloud.http("GET", f"/invocations/{invocation_id}", None, as_("opal"))[1]
    return found


def wait_for_state(cloud: RunningCloud, invocation_id: str, state: str) -> None:
    """Wait until the invocation has the state."""
    wait_until(lambda: invocation(cloud, invocation_id)["state"] == state, 60, state, every=0.1)


def wait_for_listed(cloud: RunningCloud, query: str, count: int) -> None:
    """Wait until so many invocations are listed: what was just written is in no index yet."""

    def listed() -> bool:
        _, page = cloud.http("GET", f"/invocations?limit=100&{query}", None, as_("opal"))
        return len(page["invocations"]) == count

    wait_until(listed, 60, f"{count} invocations with {query}", every=0.2)
