"""All triggers of a run together: which function is reached by what, and starting and ending."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from local.aws.faults import Faults
from local.aws.iam.principals import FUNCTION_KEY
from local.aws.kinesis.arrivals import Arrivals
from local.functions.registry import Source
from local.functions.triggers.delivery import Deliveries, Invoker
from local.functions.triggers.events import EventBus, rule_for
from local.functions.triggers.expiry import Expiry
from local.functions.triggers.queues import QueuePollers
from local.functions.triggers.schedules import Schedules, scheduled_event
from local.functions.triggers.streams import StreamReaders

Settings = Mapping[str, Any]


class Poller(Protocol):
    """A source that is polled."""

    def start(self) -> None:
        """Start polling."""

    def close(self) -> None:
        """Stop polling."""


class Triggers:
    """Events, schedules, queues, streams, and what expires."""

    def __init__(
        self,
        invoker: Invoker,
        client: Callable[..., Any],
        faults: Faults,
        region: str,
        account: str,
        *,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals` are those of the Kinesis in this process, if the streams are there.

        `client(service, key)` returns a boto3 client with an access key, by default the
        developer's. Event sources read with the rights of their function, as in Lambda:
        https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
        """
        self._invoker = invoker
        self._client = client
        self._region = region
        self._account = account
        self._arrivals = arrivals
        self.deliveries = Deliveries(invoker)
        self.bus = EventBus(self.deliveries.add, faults.deliveries)
        self._schedules = Schedules(self._fire)
        self._pollers: list[Poller] = []

    def start(self, functions: Iterable[Mapping[str, Any]]) -> None:
        """Trigger these functions from now on, as `local.functions.registry` describes them.

        Raises ExpressionError and ValueError for schedules and patterns that AWS would refuse.
        """
        by_source: dict[str, dict[str, Settings]] = {source: {} for source in Source}
        for function in functions:
            by_source[function["source"]][function["name"]] = function["settings"]
        events = by_source[Source.EVENT].items()
        self.bus.set_rules([rule_for(name, settings["pattern"]) for name, settings in events])
        self._pollers = [Expiry(partial(self._client, "dynamodb"))]
        for name, settings in by_source[Source.QUEUE].items():
            sqs = partial(self._client, "sqs", FUNCTION_KEY + name)
            lookup = partial(self._client, "sqs")
            self._pollers.append(QueuePollers(sqs, self._invoker, name, settings, lookup))
        for name, settings in by_source[Source.STREAM].items():
            kinesis = partial(self._client, "kinesis", FUNCTION_KEY + name)
            self._pollers.append(
                StreamReaders(kinesis, self._invoker, name, settings, arrivals=self._arrivals)
            )
        self.deliveries.start()
        for poller in self._pollers:
            poller.start()
        schedules = by_source[Source.SCHEDULE].items()
        self._schedules.start({name: settings["expression"] for name, settings in schedules})

    def fire_rates(self) -> None:
        """Fire all rates once now, so that nobody waits for the first period."""
        self._schedules.fire_rates()

    def stop_new(self) -> None:
        """Take nothing more from schedules, queues and streams; events still arrive."""
        self._schedules.close()
        for poller in self._pollers:
            poller.close()

    def close(self) -> None:
        """Trigger nothing more."""
        self.stop_new()
        self.deliveries.close()

    def _fire(self, function: str, now: datetime) -> None:
        self.deliveries.add(function, scheduled_event(function, now, self._region, self._account))
