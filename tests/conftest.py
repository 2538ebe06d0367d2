"""Hooks shared by all tests."""

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest

from tests.machines import register_profiles
from tests.needs import check_needs

register_profiles()

# Hundreds of processes are started: each would compile the whole project for itself, which is up
# to a third of the processor time of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Each session of botocore would read its descriptions of services anew: a tenth of a second of
# processor for each client that a test makes.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture(autouse=True, scope="module")
def no_lag_outlives_its_module() -> Iterator[None]:
    """moto's tables are the process's, and so is the lag of their indexes: a laboratory that was
    not closed would leave its lag, with a stopped clock, to all later modules.
    """
    yield
    index_lag = sys.modules.get("local.aws.dynamodb.index_lag")
    if index_lag is not None:
        index_lag.LAG.set(0.0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_needs(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Freeze all objects that exist after collection: the garbage collector would spend an eighth
    of the processor time of a collection on examining them.
    """
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files of each folder over the whole run: most of tests/browser waits, most of
    tests/unit computes, and side by side they keep the processors busy.
    """
    folders: dict[str, dict[str, None]] = {}
    for item in items:
        file = _file_of(item)
        folders.setdefault("/".join(file.split("/")[:2]), {})[file] = None
    places = {
        file: (number / len(files), file)
        for files in folders.values()
        for number, file in enumerate(files)
    }
    items.sort(key=lambda item: places[_file_of(item)])


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
