import pytest

from usher.ending import Memory
from usher.memory import MIB, ControlGroup

LIMIT = 64 * MIB


@pytest.fixture
def group(tmp_path, monkeypatch):
    """The files of a container's control group: limit, peak and events."""

    def make(limit, peak="", events=""):
        files = [tmp_path / name for name in ("limit", "peak", "events")]
        for file, text in zip(files, (limit, peak, events), strict=True):
            file.write_text(text)
        missing = ("/nowhere/a", "/nowhere/b", "/nowhere/c")
        monkeypatch.setattr(ControlGroup, "FILES", (missing, tuple(map(str, files))))
        return ControlGroup()

    return make


@pytest.mark.parametrize(
    ("peak", "events", "killed", "near"),
    [
        (LIMIT // 2, "low 0\noom 0\noom_kill 0\n", False, False),
        (LIMIT, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True, True),
        (LIMIT - MIB, "", False, True),
    ],
)
def test_a_containers_limit_peak_and_kills_are_read(group, peak, events, killed, near):
    found = group(f"{LIMIT}\n", f"{peak}\n", events)
    assert found.facts() == Memory(64, killed_by_kernel=killed, near_limit=near)
    assert found.peak_bytes() == peak


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", ""])
def test_where_there_is_no_limit_the_group_says_nothing_about_us(group, limit):
    found = group(limit, "1000000", "oom_kill 3")
    assert found.facts() == Memory()
    assert found.peak_bytes() is None
