"""Hooks shared by all tests."""

import gc
from functools import cache

import botocore.session
import pytest

from tests.machines import register_profiles
from tests.needs import check_needs

register_profiles()

# Each session of botocore would read its descriptions of services anew: a tenth of a second of
# processor for each client that a test makes.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_needs(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """What is imported and collected stays: the garbage collector need not look at it, now or
    later, which would be an eighth of the processor that collecting takes.
    """
    gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
