"""Builds requests to the Docker Engine, and parses its answers. Pure.

Field names are those of the Engine API (https://docs.docker.com/reference/api/engine/), values
follow the ECS agent's conversion of a task definition.
"""

import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from local.hosts.base import ContainerSpec, Exit

PIDS_LIMIT = 512
"""A task definition has no field for it, and without a limit a fork bomb takes the machine."""

MIN_CPU_SHARES = 2
"""The ECS agent's value for zero CPU units."""

LOG_BYTES = 1024 * 1024
"""Maximum size of a container's kept output; the newest is kept."""

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
KILLED = 128 + 9


class Label(enum.StrEnum):
    """Labels of what this program makes in the Engine."""

    RUN = "usher.local.run"
    HOST = "usher.local.host"
    TASK = "usher.local.task"


def create_request(
    spec: ContainerSpec,
    image: str,
    network: str,
    labels: Mapping[str, str],
    declared_volumes: Collection[str] = (),
) -> dict[str, Any]:
    """Body of `POST /containers/create`. `declared_volumes`: what the image has VOLUMEs for."""
    ports = () if spec.network_mode in {"host", "none"} else spec.ports
    body: dict[str, Any] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": dict(labels),
        "ExposedPorts": {f"{port.container_port}/{port.protocol}": {} for port in ports},
        # The engine runs the health checks; an image's own would only cost time.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host_config(spec, network, declared_volumes),
    }
    optional = {
        "Entrypoint": list(spec.entry_point) if spec.entry_point else None,
        "Cmd": list(spec.command) if spec.command else None,
        "User": spec.user,
        "WorkingDir": spec.working_directory,
    }
    body.update({name: value for name, value in optional.items() if value})
    return body


def _host_config(
    spec: ContainerSpec, network: str, declared_volumes: Collection[str]
) -> dict[str, Any]:
    memory = (spec.memory_mib or 0) * 1024 * 1024
    in_network = spec.network_mode not in {"host", "none"}
    return {
        "NetworkMode": network if in_network else spec.network_mode,
        "PortBindings": {
            f"{port.container_port}/{port.protocol}": [
                {"HostIp": spec.address, "HostPort": str(port.host_port)}
            ]
            for port in (spec.ports if in_network else ())
        },
        "CpuShares": max(spec.cpu_units, MIN_CPU_SHARES),
        "Memory": memory,
        # Memory and swap together: no swap beyond the memory.
        "MemorySwap": memory,
        "PidsLimit": PIDS_LIMIT,
        "ReadonlyRootfs": spec.read_only_root,
        "CapDrop": list(spec.drop_capabilities),
        "SecurityOpt": ["no-new-privileges"] if spec.no_new_privileges else [],
        "Init": spec.init_process,
        "Tmpfs": {
            mount: f"rw,nosuid,nodev,size={size_mib}m" for mount, size_mib in spec.tmpfs.items()
        },
        # Docker fills an empty volume from the image, including the owner, unless told otherwise.
        "Mounts": [
            {
                "Type": "volume",
                "Target": path,
                "VolumeOptions": {"NoCopy": path not in declared_volumes},
            }
            for path in spec.volumes
        ],
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in spec.ulimits.items()
        ],
        # Output that goes to a log stream is read from the start: Docker need not keep it.
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(LOG_BYTES), "max-file": "1"},
        }
        if spec.log_stream is None
        else {"Type": "none"},
    }


def check_command(command: Sequence[str]) -> list[str]:
    """The command of a health check in a container definition: `CMD` directly, `CMD-SHELL` by a
    shell.
    """
    kind, *arguments = command
    if kind == "CMD":
        return arguments
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", *arguments]
    return [kind, *arguments]


def exit_of(code: int | None, *, out_of_memory: bool) -> Exit:
    """The container's exit, with ECS's reason if it ran out of memory."""
    return Exit(code, OUT_OF_MEMORY if out_of_memory else None)
