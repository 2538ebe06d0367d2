"""The environment this process was started with."""

import os
from contextlib import suppress

from usher.processes import hide_memory, read_kernel_file


def forget_variable(name: str) -> None:
    """Remove a variable from the environment and from /proc/PID/environ, and protect the process's
    memory.

    Processes without CAP_SYS_PTRACE or CAP_PERFMON can read neither from then on. The environment
    of an init process that started this one is cleared too, if the kernel permits writing to it: it
    refuses that with ptrace_scope 1. Child processes never have the variable.
    """
    value = os.environ.pop(name, None)
    if value:
        _overwrite(f"{name}={value}".encode(), name, "self")
        if os.getppid() == 1:
            _overwrite(f"{name}={value}".encode(), name, "1")
    hide_memory()


def _overwrite(entry: bytes, name: str, process: str) -> None:
    """Overwrite a value with zeros, in the memory where the kernel stored the environment."""
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
