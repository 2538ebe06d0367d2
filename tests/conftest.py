"""Fixtures shared by all tests, and how hypothesis searches."""

import pytest
from hypothesis import settings

settings.register_profile("gate", deadline=None, derandomize=True)
"""Same examples in every run, and no example fails for being slow on a busy machine."""
settings.load_profile("gate")


@pytest.fixture
def required_part_is_missing() -> None:
    pytest.fail("REQUIRE_ALL=1, and a part this test needs is missing (see tests/needs.py)")
