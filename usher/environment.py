"""The environment this process was started with."""

import os
from contextlib import suppress

from usher.processes import hide_memory, read_kernel_file


def forget_variable(name: str) -> None:
    """Take a variable out of our environment and out of /proc/PID/environ, and hide our memory.

    From then on processes without CAP_SYS_PTRACE or CAP_PERFMON can read neither. Where an init
    process started us its environment is cleared as well, if the kernel lets us write there: it
    refuses that with ptrace_scope 1. Programs that we start are without the variable in any case.
    """
    value = os.environ.pop(name, None)
    if value:
        _overwrite(f"{name}={value}".encode(), name, "self")
        if os.getppid() == 1:
            _overwrite(f"{name}={value}".encode(), name, "1")
    hide_memory()


def _overwrite(entry: bytes, name: str, process: str) -> None:
    """Put zeros in the place of a value, in the memory where the kernel put the environment."""
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: env_start and env_end are the
    # 50th and 51st field; the name, in parentheses, is the second.
    fields = read_kernel_file(f"/proc/{process}/stat").rpartition(")")[2].split()
    if len(fields) < 49:
        return
    start, end = int(fields[47]), int(fields[48])
    wanted = entry + b"\0"
    with suppress(OSError), open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        place = (memory.read(end - start) or b"").find(wanted)
        if start and place >= 0:
            memory.seek(start + place)
            memory.write(name.encode() + b"=" + bytes(len(wanted) - len(name.encode()) - 1))
