"""Hooks shared by all tests."""

import pytest

from tests.needs import check_needs


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_needs(item)
