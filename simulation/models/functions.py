"""API Gateway and Lambda: how many requests and environments there may be, and what each takes.

Sources: "Quotas" of API Gateway's developer guide (10,000 requests a second, bursts of 5,000) and
"Understanding Lambda function scaling" (1,000 concurrent executions of an account unless raised;
each function gains at most 1,000 environments in ten seconds).
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from local.aws.ecs.buckets import Bucket, Rate
from simulation.meter import Meter
from simulation.models.latencies import Latencies
from simulation.models.token_bucket import shared_rate
from simulation.virtual_time import VirtualTime

REQUESTS = Rate(burst=5_000, per_second=10_000)
CONCURRENT = 1_000
NEW_ENVIRONMENTS = Rate(burst=1_000, per_second=100)
API = "api_handler"


class ThrottledError(Exception):
    """API Gateway or Lambda refused: 429 to a client, a later delivery of an event."""


class Functions:
    """The functions of one deployment, behind its API."""

    def __init__(self, time: VirtualTime, meter: Meter, latencies: Latencies, batch: int) -> None:
        self._time = time
        self._meter = meter
        self._latencies = latencies
        self._batch = batch
        self._requests = Bucket(shared_rate(REQUESTS, batch), time.now())
        self._new: dict[str, Bucket] = {}
        self._running: defaultdict[str, int] = defaultdict(int)
        self._environments: defaultdict[str, int] = defaultdict(int)
        self.billed_seconds = 0.0

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request of a client or a container, all the way. Raises ThrottledError."""
        if not self._requests.take(self._time.now()):
            self._meter.add("throttled requests")
            raise ThrottledError("API Gateway: too many requests")
        self._meter.add("requests")
        with self.invocation(API, self._latencies.network):
            yield

    @contextmanager
    def invocation(self, name: str, network_seconds: float = 0.0) -> Iterator[None]:
        """One invocation of a function. Raises ThrottledError."""
        if sum(self._running.values()) >= CONCURRENT / self._batch:
            self._meter.add("throttled invocations")
            raise ThrottledError("Lambda: too many concurrent executions")
        is_new = self._running[name] == self._environments[name]
        if is_new and not self._may_add(name):
            self._meter.add("throttled invocations")
            raise ThrottledError("Lambda: too many new environments")
        self._running[name] += 1
        self._meter.add("invocations")
        self._meter.level("concurrent executions", sum(self._running.values()))
        began = self._time.now()
        try:
            init = self._latencies.function_init if is_new else 0.0
            self._time.sleep(network_seconds + self._latencies.handler + init)
            began += network_seconds  # not the function's
            yield
        finally:
            self._running[name] -= 1
            self.billed_seconds += (self._time.now() - began) * self._batch

    def _may_add(self, name: str) -> bool:
        bucket = self._new.get(name)
        if bucket is None:
            rate = shared_rate(NEW_ENVIRONMENTS, self._batch)
            bucket = self._new[name] = Bucket(rate, self._time.now())
        if not bucket.take(self._time.now()):
            return False
        self._environments[name] += 1
        return True
