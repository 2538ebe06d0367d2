"""EC2's descriptions of the engine's hosts and of the network interfaces of its tasks.

Enough of DescribeInstances and DescribeNetworkInterfaces to find a public address.
"""

from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from local.aws.ecs.model import Interface
from local.aws.wire import Answer

_XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


def describe_instances(
    form: Mapping[str, Sequence[str]], address_of: Callable[[str], str | None], region: str
) -> Answer | None:
    """The answer if every requested instance is a host; None = another service answers."""
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


def describe_network_interfaces(
    form: Mapping[str, Sequence[str]], find: Callable[[str], Interface | None], region: str
) -> Answer | None:
    """The answer if every requested interface is a task's; None = another service answers.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html
    """
    wanted = [form[key][0] for key in sorted(form) if key.startswith("NetworkInterfaceId.")]
    found = [interface for wanted_id in wanted if (interface := find(wanted_id))]
    if not wanted or len(found) < len(wanted):
        return None
    items = "".join(_interface_item(interface, region) for interface in found)
    body = (
        f'<DescribeNetworkInterfacesResponse xmlns="{_XMLNS}"><requestId>local</requestId>'
        f"<networkInterfaceSet>{items}</networkInterfaceSet>"
        "</DescribeNetworkInterfacesResponse>"
    )
    return Answer(200, {"Content-Type": "text/xml;charset=UTF-8"}, body.encode())


def _interface_item(interface: Interface, region: str) -> str:
    public = interface.public_ip
    association = f"<association><publicIp>{escape(public or '')}</publicIp></association>"
    return (
        "<item>"
        f"<networkInterfaceId>{escape(interface.interface_id)}</networkInterfaceId>"
        f"<subnetId>{escape(interface.subnet)}</subnetId>"
        f"<availabilityZone>{escape(region)}a</availabilityZone>"
        f"<macAddress>{escape(interface.mac)}</macAddress>"
        f"<privateIpAddress>{escape(interface.private_ip)}</privateIpAddress>"
        f"<status>in-use</status>{association if public else ''}"
        "</item>"
    )
