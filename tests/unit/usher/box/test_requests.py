"""Requests to a container runtime and its answers, without a runtime."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.box import frames, runtimes
from usher.box.bubblewrap import bubblewrap_command, resource_limits, scratch_options
from usher.box.control_group import ControlGroup, make_group
from usher.box.docker_requests import create_request, run_payload
from usher.box.engine import Demultiplexer
from usher.box.model import (
    BoxSettings,
    File,
    Limit,
    NoBoxError,
    Task,
    Usage,
    decide_limit,
    split_status,
)

TASK = Task(("./main",), image="gcc:14")
SETTINGS = BoxSettings()


def request(settings=SETTINGS, *, has_apparmor=False):
    return create_request(TASK, settings, volume="v", profile="{}", has_apparmor=has_apparmor)


def test_a_container_has_every_switch():
    host = request()["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "SYS_PTRACE" not in host["CapAdd"]
    assert host["SecurityOpt"] == ["seccomp={}"]
    assert host["IpcMode"] == "private"
    assert host["Mounts"] == [
        {"Type": "volume", "Source": "v", "Target": "/usher", "ReadOnly": True}
    ]
    assert "Binds" not in host
    assert all("nosuid" in place or place == "ro" for place in host["Tmpfs"].values())


def test_a_run_is_confined_where_the_guard_is_not():
    assert "apparmor=unconfined" in request(has_apparmor=True)["HostConfig"]["SecurityOpt"]
    payload = run_payload(TASK, SETTINGS, filter_program=b"", has_apparmor=True)
    assert frames.unpack_message(payload)[0]["confined_by"] == "docker-default"


def test_containers_differ_only_where_a_barrier_is_the_containers():
    other = replace(SETTINGS, cpu_seconds=9.0, memory_mib=9, user=7, scratch_mib=1)
    assert request() == request(other)
    assert request() != request(replace(SETTINGS, no_network=False))


def test_the_guard_is_told_all_barriers():
    task = replace(TASK, files={"a": File(b"12"), "b": File(b"345")}, stdin=b"6")
    payload = run_payload(task, SETTINGS, filter_program=b"\x01", has_apparmor=False)
    fields, rest = frames.unpack_message(payload)
    assert frames.take_contents(rest, [2, 3, 1]) == [b"12", b"345", b"6"]
    assert BoxSettings(**fields["settings"]) == SETTINGS
    assert (fields["filter"], fields["user"]) == ("01", SETTINGS.user)
    assert {name for name, _, _ in fields["rlimits"]} == {
        "RLIMIT_CORE",
        "RLIMIT_NOFILE",
        "RLIMIT_FSIZE",
        "RLIMIT_STACK",
        "RLIMIT_CPU",
    }
    assert all(
        fields[name] is True
        for name in ("own_processes", "own_ipc", "no_network", "no_capabilities", "ends_all")
    )


def test_bubblewrap_shows_nothing_but_the_system():
    words = bubblewrap_command(TASK, SETTINGS, "/s", {"/usr": None, "/bin": "usr/bin"}, 9)
    bound = [
        words[place + 1] for place, word in enumerate(words) if word in ("--ro-bind", "--bind")
    ]
    assert set(bound) == {"/usr", "/s/etc", "/s/box", "/s/tmp", "/s/shm", "/proc/sys"}
    assert words[words.index("--seccomp") :][:2] == ["--seccomp", "9"]
    assert {"--new-session", "--die-with-parent", "--unshare-net", "--clearenv"} <= set(words)
    assert scratch_options(SETTINGS) == "mode=0755,size=64m,nr_inodes=4096"


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=8), st.data())
def test_a_stream_in_any_pieces_is_the_same(frames, data):
    whole = b"".join(struct.pack(">BxxxI", n, len(body)) + body for n, body in frames)
    taken = Demultiplexer()
    found = {1: b"", 2: b""}
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        for number, part in taken.feed(whole[:size]):
            found[number] += part
        whole = whole[size:]
    for number, body in found.items():
        assert body == b"".join(part for n, part in frames if n == number)


@pytest.mark.parametrize(
    ("usage", "wall", "output", "limit"),
    [
        (Usage(1.0, 0, 0), False, False, None),  # exactly at the limit is within it
        (Usage(1.001, 0, 5), True, True, Limit.CPU),
        (Usage(0.1, 0, 5), True, True, Limit.WALL),
        (Usage(0.1, 0, 1), False, True, Limit.MEMORY),
        (Usage(0.1, 0, 0), False, True, Limit.OUTPUT),
    ],
)
def test_final_counts_decide_the_limit(usage, wall, output, limit):
    found = decide_limit(usage, SETTINGS, out_of_wall=wall, too_much_output=output)
    assert found is limit


def test_a_status_is_a_code_or_a_signal():
    assert split_status(0) == (0, None)
    assert split_status(137) == (None, 9)
    assert split_status(255) == (255, None)


def test_a_group_of_version_2_below_ours(tmp_path):
    parent = tmp_path / "user.slice"
    (parent / "shell").mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (parent / "cgroup.subtree_control").write_text("cpu memory pids")
    group = make_group(SETTINGS, "box", tmp_path, "0::/user.slice/shell\n")
    assert group is not None
    assert group.version == 2
    written = {file.name: file.read_text() for file in (parent / "box").iterdir()}
    assert written == {"memory.max": str(64 * 1024 * 1024), "pids.max": "64"}


def test_the_usage_of_version_2(tmp_path):
    (tmp_path / "cpu.stat").write_text("usage_usec 250000\nuser_usec 1\n")
    (tmp_path / "memory.peak").write_text("8192\n")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    group = ControlGroup({"memory": tmp_path, "pids": tmp_path, "cpu": tmp_path}, 2)
    assert group.usage() == Usage(0.25, 8192, 1)
    assert group.joining_files == [str(tmp_path / "cgroup.procs")]


def test_a_process_joins_a_group_of_version_1_without_waiting_for_all_others(tmp_path):
    names = ("memory", "pids", "cpu")
    group = ControlGroup({name: tmp_path / name for name in names}, 1)
    assert group.joining_files == [str(tmp_path / name / "tasks") for name in names]


def test_without_any_runtime_nothing_is_run(monkeypatch):
    why = {"docker": lambda: "no engine", "bubblewrap": lambda: "not installed"}
    monkeypatch.setattr(runtimes, "_MISSING", why)
    with pytest.raises(NoBoxError, match=r"docker: no engine; bubblewrap: not installed"):
        runtimes.choose_boxes()


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        SETTINGS.user = 0
    assert replace(SETTINGS, user=0).user == 0


def test_a_stack_may_be_larger_where_a_control_group_counts_memory():
    large = replace(SETTINGS, stack_mib=512)
    limits = {name: soft for name, soft, _ in resource_limits(large, has_group=True)}
    assert limits["RLIMIT_STACK"] == 512 * 1024 * 1024
    limits = {name: soft for name, soft, _ in resource_limits(large, has_group=False)}
    assert limits["RLIMIT_STACK"] == 64 * 1024 * 1024
