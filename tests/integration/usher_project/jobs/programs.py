"""Jobs whose output is not written by Python's print: by programs, and by C in the process."""

import ctypes
import os
import subprocess
import sys
from typing import Literal

from pydantic import BaseModel

from usher import Job

libc = ctypes.CDLL(None)


class Commands(Job):
    """Has a command print in one of several ways."""

    class Parameters(BaseModel):
        command: str
        how: Literal["subprocess", "system", "fork"] = "subprocess"
        before: str = ""
        after: str = ""

    def run(self, parameters):
        sys.stdout.write(parameters.before)
        match parameters.how:
            case "subprocess":
                subprocess.run(parameters.command, shell=True, check=False)
            case "system":
                os.system(parameters.command)
            case "fork":
                self._fork(parameters.command)
        sys.stdout.write(parameters.after)

    def _fork(self, command):
        if os.fork() == 0:
            os.execl("/bin/sh", "sh", "-c", command)
        os.wait()


class Writes(Job):
    """Lets code of this process write past Python, between two lines of its own."""

    class Parameters(BaseModel):
        how: Literal["descriptor", "puts", "printf"]

    def run(self, parameters):
        print("before")
        match parameters.how:
            case "descriptor":
                os.write(1, b"\n\nraw")
            case "puts":
                libc.puts(b"raw")
            case "printf":
                libc.printf(b"raw")
        return "done"
