"""A job that looks for the secret of the process that started it."""

import os
import re
from pathlib import Path

from pydantic import BaseModel

from usher import Job


class Spy(Job):
    """Returns where a secret is found; the parameters are its two halves."""

    class Parameters(BaseModel):
        begins: str
        ends: str

    def run(self, parameters):
        secret = re.compile(f"{parameters.begins}[-]{parameters.ends}".encode())
        found = {"variables": bool(secret.search(repr(dict(os.environ)).encode()))}
        for name, process in (("self", "self"), ("parent", str(os.getppid()))):
            for file, read in (("environ", _environ), ("cmdline", _cmdline), ("mem", _memory)):
                try:
                    found[f"{name} {file}"] = bool(secret.search(read(process)))
                except OSError as error:
                    found[f"{name} {file}"] = type(error).__name__
        return found


def _environ(process):
    return Path(f"/proc/{process}/environ").read_bytes()


def _cmdline(process):
    return Path(f"/proc/{process}/cmdline").read_bytes()


def _memory(process):
    pieces = []
    with open(f"/proc/{process}/maps", encoding="utf-8") as maps:
        areas = [line.split()[0].split("-") for line in maps if line.split()[1].startswith("rw")]
    with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
        for start, end in areas:
            memory.seek(int(start, 16))
            pieces.append(memory.read(int(end, 16) - int(start, 16)) or b"")
    return b"".join(pieces)
