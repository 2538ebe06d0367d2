"""The system call filter: for Docker as a profile, for bubblewrap as a compiled program. Pure.

An allow list, so that new system calls are refused. Arguments are checked for four calls: `clone`
makes no namespaces, `clone3` (whose arguments a filter cannot read) is reported as missing,
`socket` makes local and internet sockets only (no vsock, netlink, packet), and file locks, with
which two boxes that share a file could communicate, are refused.
"""

import json
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from usher.box.syscalls import numbers

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SCMP_ARCH = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME of linux/sched.h."""
EPERM, ENOSYS, ENOLCK = 1, 38, 37
X32 = 0x40000000


@dataclass(frozen=True)
class NoneOf:
    """Allowed if no bit of the mask is set in an argument."""

    argument: int
    mask: int


@dataclass(frozen=True)
class OneOf:
    """Allowed if an argument is one of these."""

    argument: int
    values: tuple[int, ...]
    error: int = EPERM


CONDITIONS: dict[str, NoneOf | OneOf] = {
    # 0x80 is CLONE_NEWTIME, which only clone3 and unshare accept; in clone it belongs to the
    # signal.
    "clone": NoneOf(0, NAMESPACE_FLAGS & ~0x80),
    "socket": OneOf(0, (1, 2, 10)),  # AF_UNIX, AF_INET, AF_INET6
    # All commands of fcntl.h except locks, leases and F_NOTIFY.
    "fcntl": OneOf(1, (*range(5), *range(8, 12), 15, 16, *range(1030, 1035)), ENOLCK),
}
ERRORS = {"clone3": ENOSYS, "flock": ENOLCK}


FOR_GUARDS = (
    "capset",
    "chroot",
    "clone3",
    "mount",
    "pivot_root",
    "prctl",
    "seccomp",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
)
"""Further calls of a container's guard, which makes boxes without them."""


def docker_profile(machine: str, *, is_guard: bool = False) -> str:
    """JSON for `seccomp=` of the Engine's SecurityOpt."""
    allowed = set(numbers(machine)) | set(FOR_GUARDS if is_guard else ())
    errors = {
        name: error for name, error in ERRORS.items() if name not in FOR_GUARDS or not is_guard
    }
    plain = sorted(allowed - CONDITIONS.keys() - errors.keys())
    rules: list[dict[str, Any]] = [{"names": plain, "action": "SCMP_ACT_ALLOW"}]
    for name, error in errors.items():
        rules.append({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": error})
    for name, condition in CONDITIONS.items():
        rules += [
            {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
            for argument in _docker_arguments(condition)
        ]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": [_SCMP_ARCH[machine]],
            "syscalls": rules,
        }
    )


def _docker_arguments(condition: NoneOf | OneOf) -> list[dict[str, Any]]:
    if isinstance(condition, NoneOf):
        masked = {"value": condition.mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        return [{"index": condition.argument, **masked}]
    return [
        {"index": condition.argument, "value": value, "op": "SCMP_CMP_EQ"}
        for value in condition.values
    ]


# Opcodes of linux/bpf_common.h and return values of linux/seccomp.h.
_LOAD, _RETURN = 0x20, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT = 0x15, 0x35, 0x45
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""


@cache
def bpf_program(machine: str) -> bytes:
    """The same rules for `bwrap --seccomp`: an array of struct sock_filter."""
    known = numbers(machine)
    code = [
        _op(_LOAD, _ARCH),
        _op(_JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
        _op(_JUMP_AT_LEAST, X32, 0, 1),
        _op(_RETURN, _ERRNO | ENOSYS),
    ]
    for name, error in ERRORS.items():
        code += [_op(_JUMP_EQUAL, known[name], 0, 1), _op(_RETURN, _ERRNO | error)]
    for name, condition in CONDITIONS.items():
        code += _conditional(known[name], condition)
    special = CONDITIONS.keys() | ERRORS.keys()
    for low, high in _ranges(sorted(n for name, n in known.items() if name not in special)):
        code += [
            _op(_JUMP_AT_LEAST, high + 1, 3, 0),
            _op(_JUMP_AT_LEAST, low, 0, 1),
            _op(_RETURN, _ALLOW),
            _op(_RETURN, _ERRNO | EPERM),
        ]
    return b"".join([*code, _op(_RETURN, _ERRNO | EPERM)])


def _conditional(number: int, condition: NoneOf | OneOf) -> list[bytes]:
    load = _op(_LOAD, _ARGUMENTS + 8 * condition.argument)
    allow = _op(_RETURN, _ALLOW)
    if isinstance(condition, NoneOf):
        refuse = _op(_RETURN, _ERRNO | EPERM)
        body = [load, _op(_JUMP_ANY_BIT, condition.mask, 1, 0), allow, refuse]
    else:
        count = len(condition.values)
        tests = [
            _op(_JUMP_EQUAL, value, count - place, 0)
            for place, value in enumerate(condition.values)
        ]
        body = [load, *tests, _op(_RETURN, _ERRNO | condition.error), allow]
    return [_op(_JUMP_EQUAL, number, 0, len(body)), *body]


def _ranges(values: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for value in values:
        if ranges and ranges[-1][1] == value - 1:
            ranges[-1] = (ranges[-1][0], value)
        else:
            ranges.append((value, value))
    return ranges


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
