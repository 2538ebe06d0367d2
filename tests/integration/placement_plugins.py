"""A stage's own placement, for tests of launches: `PLACEMENT_MODULE` names this module."""

from chalicelib.capacity.placement import Plugin


def _last(_task, host, _hosts) -> float:
    """The greatest EC2 instance id: the second host of a laboratory."""
    return float(int((host.ec2_instance_id or "i-0").removeprefix("i-"), 16))


def _fails(_task, _host, _hosts) -> float:
    raise LookupError("no such rack")


PLUGINS = {
    "last-host": Plugin(fitness=_last),
    "nowhere": Plugin(fitness=_last, constraints={"never": lambda *_: False}),
    "broken": Plugin(fitness=_fails),
}
