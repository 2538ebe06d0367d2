"""The job's program: imports its module, checks its parameters and calls `run`. It reports to the
parent over a pipe. `usher.program` starts it.
"""

import fcntl
import gc
import json
import os
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from chalicelib.contract.jobs import EXIT_INVALID, Outcome
from usher.child_messages import (
    End,
    UnfitResultError,
    check_result,
    end_line,
    progress_line,
    progress_of,
)
from usher.log_file import flush, line_stream
from usher.signals import become_a_job

OOM_SCORE = "500"
"""When memory runs out, the kernel shall kill this process and not its parent, which reports the
end."""

HIGH_DESCRIPTOR = 512

_writing = threading.Lock()

_kept: list[object] = []
"""Objects that would be finalized after `run`: a `__del__` of the job may never end, and is
therefore not called; neither are `atexit` handlers."""


class InvalidParametersError(Exception):
    """The parameters do not fit the job's schema."""


def main() -> NoReturn:
    """The complete program: the process exits here. sys.argv has the descriptors of order and pipe.

    It exits immediately after `run`, without waiting for threads and without atexit handlers,
    either of which may never end. Its output is flushed before.
    """
    code = 1
    try:
        order, pipe = int(sys.argv[1]), int(sys.argv[2])
        sys.argv[:] = ["usher"]
        os.set_inheritable(pipe, False)
        code = _prepare_and_run(read_order(order), pipe)
    except BaseException:  # noqa: BLE001 - of ours; the parent gets the exit code
        traceback.print_exc()
    finally:
        flush(sys.stdout)
        flush(sys.stderr)
        os._exit(code)


@dataclass(frozen=True)
class Order:
    """The job to run."""

    job: str
    parameters: Any
    project: Path


def read_order(descriptor: int) -> Order:
    """Read the file that `usher.program.child_order` made, and close it."""
    with open(descriptor, encoding="utf-8") as file:
        document = json.load(file)
    return Order(document["job"], document["parameters"], Path(document["project"]))


def _prepare_and_run(order: Order, pipe: int) -> int:
    become_a_job()
    _mark_for_the_kernel()
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    sys.stdout, sys.stderr = line_stream(sys.stdout), line_stream(sys.stderr)
    return _run(order, Pipe(pipe))


def _run(order: Order, pipe: "Pipe") -> int:
    ours = os.getpid()
    try:
        end = End(Outcome.SUCCEEDED, result=_call(order, pipe))
        code = 0
    except InvalidParametersError as error:
        end, code = End(Outcome.INVALID, str(error)), EXIT_INVALID
        sys.stderr.write(f"invalid parameters: {error}\n")
    except UnfitResultError as error:
        end, code = End(Outcome.FAILED, str(error)), 1
        sys.stderr.write(f"{error}\n")
    except SystemExit as left:
        _kept.append(left)
        return _exit_code(left)
    except BaseException as error:  # noqa: BLE001 - every exception is the result of the run
        _kept.append(error)
        _show(error)
        end, code = End(Outcome.FAILED, _summary(error)), 1
    if os.getpid() != ours:
        return code  # a process that the job forked returned from `run`; it is not the job's
    if not pipe.write(end_line(end)):
        sys.stderr.write("how it ended cannot be told: the job closed the pipe to its parent\n")
        return code or 1
    return code


def _call(order: Order, pipe: "Pipe") -> Any:
    gc.disable()  # imports make no garbage, and a twentieth of their time is spent looking for it
    from usher.discovery import find_job

    gc.freeze()
    gc.enable()
    job = find_job(order.project, order.job)()
    _kept.append(job)

    def tell(fraction: float | None, message: str) -> None:
        pipe.write(progress_line(progress_of(fraction, message)))

    job._tell = tell
    result = job.run(_checked(job.Parameters, order.parameters))
    _kept.append(result)
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
    check_result(result)
    return result


def _checked(model: Any, parameters: Any) -> Any:
    """The parameters as an instance of the model. Raises InvalidParametersError."""
    if model is None:
        if parameters not in (None, {}):
            raise InvalidParametersError("this job takes no parameters")
        return None
    from pydantic import ValidationError

    try:
        return model.model_validate({} if parameters is None else parameters)
    except ValidationError as error:
        raise InvalidParametersError(_what_is_wrong(error.errors(include_url=False))) from None


def _what_is_wrong(errors: list[Any]) -> str:
    lines = [
        f"{'.'.join(str(part) for part in error['loc']) or 'parameters'}: {error['msg']}"
        for error in errors
    ]
    return "; ".join(lines)


class Pipe:
    """The writing end of the pipe to the parent, unless the job closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = _out_of_the_way(descriptor)
        self._identity = _identity(self._descriptor)

    def write(self, data: bytes) -> bool:
        """Write a line; returns whether it was written. Threads of the job may call it
        concurrently.

        A job may have closed the descriptor and opened another file with its number.
        """
        with _writing:
            while data:
                if _identity(self._descriptor) != self._identity:
                    return False
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:
                    return False
        return True


def _out_of_the_way(descriptor: int) -> int:
    """A duplicate of the pipe with a high number, because programs tend to close low ones."""
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    except (OSError, ValueError):
        return descriptor  # the process's limit is below that
    os.close(descriptor)
    return high


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _exit_code(left: SystemExit) -> int:
    """The exit code as of the interpreter, but never 0 for another code such as 256."""
    if left.code is None:
        return 0
    if isinstance(left.code, int):
        return (left.code & 0xFF) or (1 if left.code else 0)
    try:
        sys.stderr.write(f"{left.code}\n")
    except Exception as error:  # noqa: BLE001 - of the job's own __str__
        sys.stderr.write(f"it exited with something that cannot be shown: {error!r}\n")
    return 1


def _show(error: BaseException) -> None:
    """Print the traceback, beginning with the job's own code."""
    here = os.path.dirname(__file__)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(here + os.sep):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _summary(error: BaseException) -> str:
    lines = traceback.format_exception_only(type(error), error)
    return " ".join(lines[-1].split())


def _mark_for_the_kernel() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
    except OSError:
        return  # not Linux, or not allowed: nothing changes
