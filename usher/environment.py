"""The environment this process was started with."""

import os
from contextlib import suppress

from usher.processes import read_kernel_file


def forget_variable(name: str) -> None:
    """Take a variable out of our environment, and out of what /proc/PID/environ shows.

    That shows the memory in which the kernel put the environment, where unsetting changes
    nothing, and after a fork it shows the same. Where it cannot be overwritten, only the
    environment that is handed on is without it.
    """
    value = os.environ.pop(name, None)
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: env_start and env_end are the
    # 50th and 51st field; the name, in parentheses, is the second.
    fields = read_kernel_file("/proc/self/stat").rpartition(")")[2].split()
    if not value or len(fields) < 49:
        return
    start, end = int(fields[47]), int(fields[48])
    wanted = f"{name}={value}\0".encode()
    with suppress(OSError), open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        place = (memory.read(end - start) or b"").find(wanted)
        if start and place >= 0:
            memory.seek(start + place)
            memory.write(name.encode() + b"=" + bytes(len(value.encode()) + 1))
