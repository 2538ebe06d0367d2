import os

import pytest

from usher import cpu
from usher.cpu import limit_cpu


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups in a folder, and a process with a given membership."""

    def make(membership, **files):
        monkeypatch.setattr(cpu, "ROOT", tmp_path)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        read = cpu.read_kernel_file

        def pretend(path):
            return membership if path == "/proc/self/cgroup" else read(path)

        monkeypatch.setattr(cpu, "read_kernel_file", pretend)
        return tmp_path

    return make


def test_version_1_limits_by_a_quota_below_the_own_group(groups):
    root = groups("3:cpu,cpuacct:/me\n2:memory:/\n")
    (root / "cpu" / "me").mkdir(parents=True)
    limit = limit_cpu(512)
    assert limit.enforced == "by a control group"
    assert limit.group == root / "cpu" / "me" / f"usher-run-{os.getpid()}"
    assert (limit.group / "cpu.cfs_quota_us").read_text() == "50000"


def test_version_2_limits_beside_the_own_group(groups):
    root = groups(
        "0::/user/me\n", cgroup_dot_controllers="cpu memory", user__cgroup_dot_subtree_control="cpu"
    )
    limit = limit_cpu(2048)
    assert limit.group == root / "user" / f"usher-run-{os.getpid()}"
    assert (limit.group / "cpu.max").read_text() == "200000 100000"


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/user/me\n", {"cgroup_dot_controllers": "", "user__cgroup_dot_subtree_control": ""}),
        ("2:memory:/\n", {}),
        ("3:cpu:/not/there\n", {}),
        ("", {}),
    ],
)
def test_without_such_a_group_it_says_what_little_is_done(groups, membership, files):
    groups(membership, **files)
    limit = limit_cpu(1536)
    assert limit.group is None
    assert limit.enforced == "only by keeping it on 2 cores, with less priority"


def test_groups_of_runs_that_were_killed_are_removed(groups):
    root = groups("3:cpu:/\n")
    gone, ours = root / "cpu" / "usher-run-999999999", root / "cpu" / f"usher-run-{os.getppid()}"
    gone.mkdir(parents=True)
    ours.mkdir()
    limit_cpu(1024)
    assert not gone.exists()
    assert ours.exists()
