"""Tests whose requirements are missing are skipped with the reason, or fail with REQUIRE_ALL=1."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from tests.needs import Need

needs_nothing = Need(lambda: "")
needs_clock = Need(lambda: "no clock")
needs_water = Need(lambda: "no water")

@pytest.fixture(params=["plain", needs_clock.parameter("clock"), needs_nothing.parameter("sun")])
def part(request):
    assert request.param != "clock", "set up although it is missing"
    return request.param

@pytest.fixture
def clock():
    raise AssertionError("set up although it is missing")

@pytest.mark.parametrize(("n", "m"), [(1, 1), needs_water.parameter(2, 2, id="two")])
def test_of_a_parameter(n, m):
    assert n == m == 1

def test_of_a_fixture(part):
    assert part != "clock"

@needs_clock
@needs_water
@needs_nothing
def test_of_parts(clock):
    pass

@needs_nothing
def test_of_nothing():
    pass
"""


@pytest.fixture
def run(pytester):
    pytester.makeconftest("from tests.conftest import pytest_runtest_setup")
    pytester.makepyfile(TESTS)
    return lambda: pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider")


def test_what_is_missing_is_skipped_with_the_reason(run, monkeypatch):
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    result = run()
    result.assert_outcomes(passed=4, skipped=3)
    result.stdout.fnmatch_lines_random(
        ["SKIPPED*: no water", "SKIPPED*: no clock", "SKIPPED*: no clock, no water"]
    )


def test_where_all_is_required_it_fails(run, monkeypatch):
    monkeypatch.setenv("REQUIRE_ALL", "1")
    result = run()
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines_random(["*REQUIRE_ALL=1*missing: no clock, no water"])
