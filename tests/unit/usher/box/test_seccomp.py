"""The compiled filter and Docker's profile allow the same, and refuse what a box must refuse."""

import errno
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.box.seccomp import AUDIT_ARCH, bpf_program, docker_profile
from usher.box.syscalls import numbers

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
MACHINES = sorted(AUDIT_ARCH)


def run_bpf(program: bytes, number: int, arguments=(0,) * 6, arch=None) -> int:
    """Returns the kernel's result of a filter: a small machine for the instructions that occur."""
    code = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments)
    place = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x06:
                return value
            case 0x15:
                place += if_true if accumulator == value else if_false
            case 0x35:
                place += if_true if accumulator >= value else if_false
            case 0x45:
                place += if_true if accumulator & value else if_false
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


def docker_says(machine: str, name: str, arguments) -> int:
    """By the rules of the OCI runtime specification."""
    for rule in json.loads(docker_profile(machine))["syscalls"]:
        if name not in rule["names"]:
            continue
        for wanted in rule.get("args", ()):
            value = arguments[wanted["index"]]
            if wanted["op"] == "SCMP_CMP_EQ" and value != wanted["value"]:
                break
            if wanted["op"] == "SCMP_CMP_MASKED_EQ" and value & wanted["value"]:
                break
        else:
            is_allowed = rule["action"] == "SCMP_ACT_ALLOW"
            return ALLOW if is_allowed else ERRNO | rule["errnoRet"]
    return ERRNO | errno.EPERM


small = st.integers(0, 2**31 - 1) | st.sampled_from([0, 1, 2, 10, 16, 40, 5, 6, 7, 37, 1030])


@pytest.mark.parametrize("machine", MACHINES)
@given(data=st.data(), arguments=st.tuples(*[small] * 6))
def test_both_forms_allow_the_same(machine, data, arguments):
    name = data.draw(st.sampled_from(sorted(numbers(machine))))
    compiled = run_bpf(bpf_program(machine), numbers(machine)[name], arguments, AUDIT_ARCH[machine])
    profile = docker_says(machine, name, arguments)
    assert (compiled == ALLOW) is (profile == ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
@given(number=st.integers(0, 2**32 - 1))
def test_what_the_table_does_not_have_is_refused(machine, number):
    if number in numbers(machine).values():
        return
    assert run_bpf(bpf_program(machine), number, arch=AUDIT_ARCH[machine]) != ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed(machine):
    assert run_bpf(bpf_program(machine), 1, arch=0x40000003) == KILL  # i386


REFUSED = (
    "ptrace process_vm_writev keyctl add_key io_uring_setup userfaultfd bpf mount unshare setns "
    "chroot pivot_root reboot init_module perf_event_open open_by_handle_at personality "
    "move_mount pidfd_getfd kexec_load swapon settimeofday iopl"
)


@pytest.mark.parametrize("name", REFUSED.split())
def test_what_hostile_programs_ask_for_is_not_in_the_table(name):
    assert name not in numbers("x86_64")
    assert name not in numbers("aarch64")


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("clone", (0x10000000, 0, 0, 0, 0, 0), ERRNO | errno.EPERM),  # CLONE_NEWUSER
        ("clone", (0x003D0F00, 0, 0, 0, 0, 0), ALLOW),  # a thread of glibc
        ("clone3", (0,) * 6, ERRNO | errno.ENOSYS),
        ("socket", (40, 1, 0, 0, 0, 0), ERRNO | errno.EPERM),  # AF_VSOCK
        ("socket", (1, 1, 0, 0, 0, 0), ALLOW),
        ("fcntl", (3, 6, 0, 0, 0, 0), ERRNO | errno.ENOLCK),  # F_SETLK
        ("fcntl", (3, 1030, 0, 0, 0, 0), ALLOW),  # F_DUPFD_CLOEXEC
        ("flock", (3, 2, 0, 0, 0, 0), ERRNO | errno.ENOLCK),
    ],
)
def test_arguments_decide(name, arguments, answer):
    program = bpf_program("x86_64")
    number = numbers("x86_64")[name]
    assert run_bpf(program, number, arguments, AUDIT_ARCH["x86_64"]) == answer


@pytest.mark.parametrize("machine", AUDIT_ARCH)
def test_a_guard_may_do_little_more_than_a_run(machine):
    def allowed(profile):
        rules = json.loads(profile)["syscalls"]
        return {name for rule in rules if "args" not in rule for name in rule["names"]}

    more = allowed(docker_profile(machine, is_guard=True)) - allowed(docker_profile(machine))
    assert {"mount", "unshare", "pivot_root"} <= more
    assert not more & {"ptrace", "bpf", "keyctl", "io_uring_setup", "kexec_load", "init_module"}
