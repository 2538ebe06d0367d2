"""Fixtures shared by all tests."""

import pytest


@pytest.fixture
def required_part_is_missing() -> None:
    pytest.fail("REQUIRE_ALL=1, and a part this test needs is missing (see tests/needs.py)")
