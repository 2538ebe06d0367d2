"""Deployments install from locks: exact versions, hashes, no index."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.supply.locks import LOCKS, Locked, find_problems, parse_lock, parse_ranges

ROOT = Path(__file__).parents[3]
SUPPORTED = ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("lock", LOCKS.values())
def test_a_lock_names_no_index_and_no_folder(lock):
    text = (ROOT / lock).read_text("utf-8")
    assert not re.findall(r"https?:|file:|-index|--find-links|^-e|^-r", text, flags=re.M)


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize(("ranges", "lock"), LOCKS.items(), ids=LOCKS.values())
def test_a_lock_satisfies_its_ranges_for_each_python(ranges, lock, version):
    environment = {"python_version": version, "python_full_version": f"{version}.9"}
    environment |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    environment |= {"platform_machine": "x86_64", "platform_python_implementation": "CPython"}
    environment |= {"implementation_name": "cpython"}
    locked = parse_lock((ROOT / lock).read_text("utf-8"))
    there = [each for each in locked if each.applies(environment)]
    wanted = parse_ranges(ROOT / ranges)
    needed = [each for each in wanted if not each.marker or each.marker.evaluate(environment)]
    assert find_problems(needed, there) == []
    assert len(there) == len({each.name for each in there}), "one version of each"


def test_what_a_lock_lacks_is_found():
    ranges = [Requirement("a>=2,<3"), Requirement("b"), Requirement("C_d>=1")]
    locked = [
        Locked("a", "3.0", None, ("sha256:00",)),
        Locked("c-d", "1.0", None, ()),
    ]
    assert find_problems(ranges, locked) == [
        "c-d: no hash",
        "a: 3.0 is outside <3,>=2",
        "b: not locked",
    ]


def test_a_lock_has_exact_versions_only():
    hashes = "--hash=sha256:00 \\\n    --hash=sha256:01"
    text = f"# words\na==1 ; python_version < '3.12' \\\n    {hashes}\n"
    (package,) = parse_lock(text)
    assert (package.name, package.version) == ("a", "1")
    assert package.hashes == ("sha256:00", "sha256:01")
    assert package.applies({"python_version": "3.11"})
    assert not package.applies({"python_version": "3.12"})
    with pytest.raises(ValueError, match="no exact version"):
        parse_lock("a>=1 --hash=sha256:00")


@pytest.mark.parametrize("lock", ["session_handler/requirements.lock", "usher/requirements.lock"])
def test_the_packages_of_an_image_are_the_same_for_every_python(lock):
    """Another Python fetches the wheels for a base, and pip evaluates markers for its own."""
    assert [each.name for each in parse_lock((ROOT / lock).read_text("utf-8")) if each.marker] == []


def test_the_example_has_no_packages_without_a_lock():
    folder = ROOT / "examples" / "jobs"
    has_lock = (folder / "requirements.lock").is_file()
    assert has_lock or parse_ranges(folder / "requirements.txt") == []
