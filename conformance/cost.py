"""The costs of a run on AWS. Pure.

On-demand prices of us-east-1 in US dollars, which other regions exceed by up to a half:
https://aws.amazon.com/ec2/pricing/on-demand/ (and the pages of the other services).
"""

from dataclasses import dataclass

HOURS = 1.0
"""Rounded up: a run with deployment and destruction takes forty to fifty minutes."""

MOST_DOLLARS = 1.0


@dataclass(frozen=True)
class Item:
    """One resource that is billed by the hour."""

    what: str
    number: float
    dollars_an_hour: float

    def dollars(self, hours: float) -> float:
        """The costs of this many hours, in dollars."""
        return self.number * self.dollars_an_hour * hours


ITEMS = (
    Item("hosts, t3.large, with one that follows a killed one", 2, 0.0832),
    Item("their disks, 30 GB gp3 each", 2, 0.0033),
    Item("public IPv4 addresses of hosts and Fargate tasks", 5, 0.005),
    Item("Fargate tasks, 0.25 vCPU and 0.5 GB, one of them a pool's", 2, 0.0124),
    Item("shards of the stream", 2, 0.015),
    Item("Valkey, cache.t4g.micro", 2, 0.0128),
    Item("interface endpoint for Kinesis in two zones", 2, 0.01),
    Item("alarms, 14 of 0.10 dollars a month", 14, 0.10 / 730),
    Item("secrets, of 0.40 dollars a month", 1, 0.40 / 730),
    Item("requests, logs, storage, transfer: a generous guess", 1, 0.10),
)


def total(hours: float = HOURS) -> float:
    """All of it, in dollars."""
    return sum(item.dollars(hours) for item in ITEMS)


def statement(hours: float = HOURS) -> str:
    """The text that is printed before anything is built."""
    lines = [f"  {item.dollars(hours):5.2f}  {item.number:g} × {item.what}" for item in ITEMS]
    lines.append(
        f"  {total(hours):5.2f}  US dollars for {hours:g} hour, at the prices of us-east-1"
    )
    return "\n".join(lines)
