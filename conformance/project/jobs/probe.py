"""The job of the conformance suite: succeeds, fails or takes its time, as it is asked."""

import time

from pydantic import BaseModel

from usher import Job


class Probe(Job):
    """Does what it is asked, and says so in its log."""

    cpu = 64
    memory = 128
    timeout_seconds = 300

    class Parameters(BaseModel, extra="forbid"):
        """What is asked."""

        seconds: float = 0.0
        fail: bool = False

    def run(self, parameters: Parameters) -> dict[str, float]:
        """Raises RuntimeError where a failure is asked for."""
        print(f"probe: {parameters.seconds} seconds", flush=True)
        time.sleep(parameters.seconds)
        if parameters.fail:
            raise RuntimeError("asked to fail")
        return {"slept": parameters.seconds}
