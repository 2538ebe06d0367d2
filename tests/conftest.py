"""Hooks shared by all tests."""

import pytest

from tests.machines import register_profiles
from tests.needs import check_needs

register_profiles()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    check_needs(item)
