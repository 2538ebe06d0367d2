"""EC2's DescribeInstances for the hosts of the engine: enough to find a host's public address."""

from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from local.aws.wire import Answer

_XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


def describe_instances(
    form: Mapping[str, Sequence[str]], address_of: Callable[[str], str | None], region: str
) -> Answer | None:
    """The answer when every instance asked for is a host; None = somebody else has to answer."""
    wanted = [form[key][0] for key in sorted(form) if key.startswith("InstanceId.")]
    addresses = {instance: address_of(instance) for instance in wanted}
    if not wanted or None in addresses.values():
        return None
    items = "".join(
        "<item>"
        f"<instanceId>{escape(instance)}</instanceId>"
        "<instanceState><code>16</code><name>running</name></instanceState>"
        f"<ipAddress>{escape(str(address))}</ipAddress>"
        f"<privateIpAddress>{escape(str(address))}</privateIpAddress>"
        f"<placement><availabilityZone>{escape(region)}a</availabilityZone></placement>"
        "</item>"
        for instance, address in addresses.items()
    )
    body = (
        f'<DescribeInstancesResponse xmlns="{_XMLNS}"><requestId>local</requestId>'
        f"<reservationSet><item><reservationId>r-local</reservationId>"
        f"<instancesSet>{items}</instancesSet></item></reservationSet>"
        "</DescribeInstancesResponse>"
    )
    return Answer(200, {"Content-Type": "text/xml;charset=UTF-8"}, body.encode())
