"""Task definitions are translated into requests to the Engine."""

import dataclasses

import pytest

from local.hosts.base import ContainerSpec, Exit, PortMapping
from local.hosts.docker_requests import check_command, create_request, exit_of

PLAIN = ContainerSpec(
    task_id="t",
    name="session",
    image="i",
    entry_point=None,
    command=None,
    environment={},
    ports=(),
    cpu_units=0,
    memory_mib=None,
    user=None,
    read_only_root=False,
)


def test_limits_and_walls():
    spec = dataclasses.replace(
        PLAIN,
        cpu_units=256,
        memory_mib=64,
        user="65534",
        read_only_root=True,
        drop_capabilities=("ALL",),
        init_process=True,
        tmpfs={"/tmp": 16},
        ulimits={"nofile": (64, 128)},
    )
    request = create_request(spec, "i:1", "net", {"l": "1"})
    host = request["HostConfig"]
    assert request["User"] == "65534"
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024 * 1024
    assert (host["CpuShares"], host["ReadonlyRootfs"], host["Init"]) == (256, True, True)
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert host["Tmpfs"] == {"/tmp": "rw,nosuid,nodev,size=16m"}
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 64, "Hard": 128}]
    assert host["PidsLimit"] > 0


def test_what_is_not_said_is_left_to_the_image():
    request = create_request(PLAIN, "i:1", "net", {})
    assert not {"Entrypoint", "Cmd", "User", "WorkingDir"} & set(request)
    assert request["HostConfig"]["CpuShares"] == 2


def test_ports_open_on_loopback_only():
    spec = dataclasses.replace(PLAIN, ports=(PortMapping(8080, 40000),))
    request = create_request(spec, "i:1", "net", {})
    assert request["ExposedPorts"] == {"8080/tcp": {}}
    assert request["HostConfig"]["NetworkMode"] == "net"
    assert request["HostConfig"]["PortBindings"] == {
        "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40000"}]
    }


@pytest.mark.parametrize("mode", ["none", "host"])
def test_other_network_modes_publish_nothing(mode):
    spec = dataclasses.replace(PLAIN, network_mode=mode, ports=(PortMapping(8080, 40000),))
    request = create_request(spec, "i:1", "net", {})
    assert request["HostConfig"]["NetworkMode"] == mode
    assert request["HostConfig"]["PortBindings"] == request["ExposedPorts"] == {}


def test_health_checks():
    assert check_command(["CMD", "curl", "x y"]) == ["curl", "x y"]
    assert check_command(["CMD-SHELL", "curl x || exit 1"]) == ["/bin/sh", "-c", "curl x || exit 1"]


def test_ends():
    assert exit_of(3, out_of_memory=False) == Exit(3, None)
    assert exit_of(137, out_of_memory=True).reason.startswith("OutOfMemoryError: Container killed")


def test_an_empty_volume_is_filled_from_the_image_only_where_that_declares_it():
    spec = dataclasses.replace(PLAIN, volumes=("/tmp", "/data"), address="127.64.0.9")
    request = create_request(spec, "i:1", "net", {}, frozenset({"/tmp"}))
    assert request["HostConfig"]["Mounts"] == [
        {"Type": "volume", "Target": "/tmp", "VolumeOptions": {"NoCopy": False}},
        {"Type": "volume", "Target": "/data", "VolumeOptions": {"NoCopy": True}},
    ]
