"""The job of the conformance suite: succeeds, fails or takes time, by its parameters."""

import time

from pydantic import BaseModel

from usher import Job


class Probe(Job):
    """Acts by its parameters, and logs it."""

    cpu = 64
    memory = 128
    timeout_seconds = 300

    class Parameters(BaseModel, extra="forbid"):
        """The requested behaviour."""

        seconds: float = 0.0
        fail: bool = False

    def run(self, parameters: Parameters) -> dict[str, float]:
        """Raises RuntimeError if a failure is requested."""
        print(f"probe: {parameters.seconds} seconds", flush=True)
        time.sleep(parameters.seconds)
        if parameters.fail:
            raise RuntimeError("asked to fail")
        return {"slept": parameters.seconds}
