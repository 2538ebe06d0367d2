"""Reports of `local up` on functions that failed."""

import logging
import os
import threading
from pathlib import Path

from local.functions.failures import QUIET_SECONDS, FailureReports, failed, warn_of_failures


def warnings_of(caplog, report, times=(0.0,)):
    """Returns `local up`'s lines about the log of `report(logger)`, called at each of these
    instants.
    """
    reading, writing = os.pipe()
    instants = iter(times)
    now = [0.0]
    logger = logging.getLogger("local.functions")
    handler = FailureReports(writing)
    logger.addHandler(handler)
    thread = threading.Thread(
        target=warn_of_failures, args=(reading, Path("the.log"), lambda: now[0]), daemon=True
    )
    try:
        for now[0] in instants:
            report(logger)
    finally:
        logger.removeHandler(handler)
    os.close(writing)
    thread.start()
    thread.join(10)
    return [r.getMessage() for r in caplog.records if r.name == "local.functions.failures"]


def raising(logger):
    try:
        {}["no\nsuch thing"]
    except LookupError:
        logger.exception("sweep failed")


def test_an_error_with_a_traceback_is_told_in_one_line(caplog):
    line = "sweep failed: KeyError: 'no\\nsuch thing'; its traceback is in the.log"
    assert warnings_of(caplog, raising) == [line]


def test_errors_without_one_are_not(caplog):
    assert warnings_of(caplog, lambda logger: logger.error("something")) == []


def test_a_function_in_a_process_of_its_own_is_told_too(caplog):
    line = "sweep failed: Task timed out; its traceback is in the.log"
    assert warnings_of(caplog, lambda _: failed("sweep", "Task timed out")) == [line]


def test_the_same_failure_again_and_again_is_told_once(caplog):
    assert len(warnings_of(caplog, raising, times=(0.0, 1.0, QUIET_SECONDS - 1))) == 1


def test_a_long_message_is_cut(caplog):
    (line,) = warnings_of(caplog, lambda _: failed("sweep", "x" * 100_000))
    assert len(line) < 400


def test_nobody_that_reads_is_no_failure(caplog):
    reading, writing = os.pipe()
    os.close(reading)
    handler = FailureReports(writing)
    handler.handle(logging.LogRecord("local.functions.failed", 40, "", 1, "x", (), None))
    os.close(writing)
    assert caplog.records == []
