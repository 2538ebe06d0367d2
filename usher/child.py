"""What happens in the forked process: the job's module is imported, its parameters are checked,
and `run` is called. The parent hears of it over a pipe.
"""

import io
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chalicelib.contract.jobs import EXIT_INVALID, Outcome
from usher.said import (
    End,
    UnfitResultError,
    check_result,
    end_line,
    progress_line,
    progress_of,
)
from usher.signals import become_a_job

OOM_SCORE = "500"
"""Where memory runs out the kernel shall end this process, and not the one that can tell of it."""

_writing = threading.Lock()


class InvalidParametersError(Exception):
    """The parameters do not fit the job's schema."""


def be_the_job(
    name: str, parameters: Any, project: Path, pipe: int, prepare: Callable[[], None] | None = None
) -> int:
    """All of the child's life; the process exits with what it returns. `prepare` comes first."""
    os.setpgid(0, 0)
    become_a_job()
    _mark_for_the_kernel()
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    if prepare is not None:
        prepare()
    # One whole line at a time, for whoever reads along.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    return _run(name, parameters, project, pipe)


def _run(name: str, parameters: Any, project: Path, pipe: int) -> int:
    try:
        end = End(Outcome.SUCCEEDED, result=_call(name, parameters, project, pipe))
        code = 0
    except InvalidParametersError as error:
        end, code = End(Outcome.INVALID, str(error)), EXIT_INVALID
        sys.stderr.write(f"invalid parameters: {error}\n")
    except UnfitResultError as error:
        end, code = End(Outcome.FAILED, str(error)), 1
        sys.stderr.write(f"{error}\n")
    except SystemExit as left:
        return _exit_code(left)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is how the run ended
        _show(error)
        end, code = End(Outcome.FAILED, _summary(error)), 1
    _write(pipe, end_line(end))
    return code


def _call(name: str, parameters: Any, project: Path, pipe: int) -> Any:
    from usher.discovery import find_job

    job = find_job(project, name)()
    job._tell = lambda fraction, message: _write(
        pipe, progress_line(progress_of(fraction, message))
    )
    result = job.run(_checked(job.Parameters, parameters))
    if hasattr(result, "model_dump"):
        result = result.model_dump(mode="json")
    check_result(result)
    return result


def _checked(model: Any, parameters: Any) -> Any:
    """The parameters as the job wants them. Raises InvalidParametersError."""
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
    words = [
        f"{'.'.join(str(part) for part in error['loc']) or 'parameters'}: {error['msg']}"
        for error in errors
    ]
    return "; ".join(words)


def _write(pipe: int, data: bytes) -> None:
    """A line at a time; threads of the job may write at once.

    A parent that is gone is not our affair: it takes this process with it.
    """
    with _writing:
        while data:
            try:
                data = data[os.write(pipe, data) :]
            except OSError:
                return


def _exit_code(left: SystemExit) -> int:
    """As the interpreter would exit."""
    if left.code is None:
        return 0
    if isinstance(left.code, int):
        return left.code & 0xFF
    sys.stderr.write(f"{left.code}\n")
    return 1


def _show(error: BaseException) -> None:
    """The traceback, from the job's own code on."""
    here = os.path.dirname(__file__)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(here + os.sep):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def _summary(error: BaseException) -> str:
    words = traceback.format_exception_only(type(error), error)
    return " ".join(words[-1].split())


def _mark_for_the_kernel() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
    except OSError:
        return  # not Linux, or not allowed: then it is as it was
