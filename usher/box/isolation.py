"""Starts one command in new namespaces inside the guard's container. Linux only.

Three processes: one makes the namespaces and ends; the first process of the box builds the file
system, then only waits for the command; the command gives up all privileges.
https://man7.org/linux/man-pages/man7/namespaces.7.html
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from usher.box.launcher import PLACES, check, fork_into, libc

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWPID, NEWNET = 0x20000000, 0x40000000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_DUMPABLE = 24, 38, 22, 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
READ_ONLY = ("sys", "sysrq-trigger", "bus", "fs", "irq")
HIDDEN = ("kcore", "keys", "timer_list", "sched_debug", "latency_stats", "kallsyms")
GUARD = 64003
"""User and group id of the first process of a box."""
RUNTIME = "/usher"
"""Directory of the guard's own files."""
SERVICE = "run"
"""Directory below it with the socket on which `usher-box` requests boxes."""
BEGUN, ENDED, FAILED = b"b", b"e", b"x"
"""Reports of the first process: the box is made; the command's status follows; why there is no
box."""


@dataclass(frozen=True)
class Started:
    """The first process of a box, and the guard's ends of its pipes."""

    pid: int
    stdin: int
    stdout: int
    stderr: int
    go: int
    status_fd: int


def start_box(
    spec: dict[str, Any],
    root: str,
    scratch: str,
    group_fds: Sequence[int],
    group_folder: int | None,
) -> Started:
    """Returns when the process exists; its reports arrive on `status_fd`. Raises OSError."""
    pipes = [os.pipe() for _ in range(6)]
    (in_r, in_w), (out_r, out_w), (err_r, err_w), (go_r, go_w), (status_r, status_w), number = pipes
    first = os.fork()
    if first == 0:
        for fd in (in_w, out_r, err_r, go_w, status_r, number[0]):
            os.close(fd)
        _make_namespaces(
            _Inside(
                spec,
                root,
                scratch,
                (in_r, out_w, err_w),
                go_r,
                status_w,
                tuple(group_fds),
                group_folder,
            ),
            number[1],
        )
    for fd in (in_r, out_w, err_w, go_r, status_w, number[1]):
        os.close(fd)
    with os.fdopen(number[0], "rb") as file:
        answer = file.read()
    os.waitpid(first, 0)
    if not answer.isdigit():
        for fd in (in_w, out_r, err_r, go_w, status_r):
            os.close(fd)
        raise OSError(f"no namespaces: {answer.decode(errors='replace')}")
    return Started(int(answer), in_w, out_r, err_r, go_w, status_r)


@dataclass(frozen=True)
class _Inside:
    """The state of the processes of a box."""

    spec: dict[str, Any]
    root: str
    scratch: str
    streams: tuple[int, int, int]
    go: int
    status_fd: int
    group_fds: tuple[int, ...]
    group_folder: int | None


def _make_namespaces(inside: _Inside, number: int) -> NoReturn:
    """Make the namespaces, start the first process in them, report its number, and end."""
    spec = inside.spec
    try:
        flags = NEWNS | NEWUTS
        flags |= NEWPID if spec["own_processes"] else 0
        flags |= NEWIPC if spec["own_ipc"] else 0
        flags |= NEWNET if spec["no_network"] else 0
        check(libc.unshare(flags))
        socket.sethostname("box")
        if spec["no_network"]:
            _loopback_up()
        child = os.fork()
        if child == 0:
            os.close(number)
            _first_process(inside)
        os.write(number, str(child).encode())
    except Exception as error:  # noqa: BLE001 - every error is reported to the guard
        os.write(number, repr(error).encode())
    finally:
        os._exit(0)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def _first_process(inside: _Inside) -> NoReturn:
    """Process 1 of the box: it ends with the command, and the kernel then ends all other
    processes.
    """
    try:
        os.setsid()
        _build_root(inside.spec, inside.root, inside.scratch)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):  # the guard's own
            os.dup2(null, fd)
        os.write(inside.status_fd, BEGUN)
        if not os.read(inside.go, 1):
            os._exit(0)
        command, is_in_group = fork_into(inside.group_folder)
        if command == 0:
            _become_the_command(inside, is_in_group=is_in_group)
        folder = [] if inside.group_folder is None else [inside.group_folder]
        for fd in (*inside.streams, *inside.group_fds, *folder, inside.go):
            os.close(fd)
        _give_up_privileges(GUARD)
        _wait(command, inside.status_fd, ends_all=inside.spec["ends_all"])
    except Exception as error:  # noqa: BLE001 - every error is reported to the guard
        os.write(inside.status_fd, FAILED + repr(error).encode())
    finally:
        os._exit(0)


def _wait(command: int, status_fd: int, *, ends_all: bool) -> None:
    """Report the command's status: 128 + n for signal n."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            break
    code = os.waitstatus_to_exitcode(status)
    os.write(status_fd, ENDED + str(code if code >= 0 else 128 - code).encode())
    os.close(status_fd)
    with contextlib.suppress(ChildProcessError):
        while not ends_all:
            os.waitpid(-1, 0)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Raises OSError with the target as its file."""
    arguments = [word.encode() or None for word in (source, target, kind)]
    try:
        check(libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None))
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from None


def bind(source: str, target: str, flags: int = 0) -> None:
    """Bind-mount a file or directory; flags such as MS_RDONLY need a second call."""
    mount(source, target, flags=MS_BIND)
    if flags:
        mount("", target, flags=MS_BIND | MS_REMOUNT | flags)


def _build_root(spec: dict[str, Any], root: str, scratch: str) -> None:
    """Only the image's files, with /proc, /dev and the scratch directories of this box."""
    read_only = MS_RDONLY if spec["read_only_root"] else 0
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    if spec["only"]:
        _show_only(spec["only"], root)
    else:
        bind("/", root, MS_NOSUID | MS_NODEV | read_only)
    _make_dev(f"{root}/dev", f"{scratch}/shm")
    for name in PLACES:
        if name == "shm":
            continue
        is_fixed = name == "box" and not spec["writable"]
        bind(f"{scratch}/{name}", f"{root}/{name}", MS_NOSUID | MS_NODEV | MS_RDONLY * is_fixed)
    for number, folder in enumerate(spec["folders"]):
        place = f"{root}{folder['path']}"
        os.makedirs(place, exist_ok=True)  # where it is in another of them
        is_fixed = not folder["writable"]
        bind(f"{scratch}/{number}", place, MS_NOSUID | MS_NODEV | MS_RDONLY * is_fixed)
    if spec["inner"]:
        bind(RUNTIME, f"{root}{RUNTIME}", MS_RDONLY | MS_NOSUID | MS_NODEV)
        bind(f"{scratch}/{SERVICE}", f"{root}{RUNTIME}/{SERVICE}", MS_NOSUID | MS_NODEV)
    if spec["only"]:
        mount("", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    if read_only:
        mount("", f"{root}/dev", flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)
    os.chdir(root)
    if spec["own_processes"]:
        mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        _cover_proc(read_only)
    else:
        bind("/proc", "proc")
    check(libc.pivot_root(b".", b"."))
    check(libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _show_only(paths: Sequence[str], root: str) -> None:
    """A new root with these directories of the image, at their paths."""
    mount("root", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k,nr_inodes=64")
    for path in paths:
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{root}{path}")
        elif os.path.isdir(path):
            os.makedirs(f"{root}{path}")
            bind(path, f"{root}{path}", MS_RDONLY | MS_NOSUID | MS_NODEV)
    for name in ("box", "dev", "proc", "tmp"):
        os.mkdir(f"{root}/{name}")


def _make_dev(dev: str, shm: str) -> None:
    mount("dev", dev, "tmpfs", MS_NOSUID, "mode=0755,size=64k,nr_inodes=64")
    for name in DEVICES:
        with open(f"{dev}/{name}", "w", encoding="ascii"):
            pass
        bind(f"/dev/{name}", f"{dev}/{name}")
    for name, target in LINKS.items():
        os.symlink(f"/proc/self/{target}", f"{dev}/{name}")
    os.mkdir(f"{dev}/shm")
    bind(shm, f"{dev}/shm", MS_NOSUID | MS_NODEV)


def _cover_proc(read_only: int) -> None:
    for name in HIDDEN:
        if os.path.exists(f"proc/{name}"):
            bind("/dev/null", f"proc/{name}")
    for name in READ_ONLY:
        if os.path.exists(f"proc/{name}"):
            bind(f"proc/{name}", f"proc/{name}", read_only | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _become_the_command(inside: _Inside, *, is_in_group: bool) -> NoReturn:
    """Never returns: a command that cannot be started ends with a shell's exit code."""
    spec = inside.spec
    code = 126
    try:
        os.setsid()
        for number, fd in enumerate(inside.streams):
            os.dup2(fd, number)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python
            signal.signal(ignored, signal.SIG_DFL)
        for fd in (
            () if is_in_group else inside.group_fds
        ):  # only the command is counted and killed in the group
            os.write(fd, b"0")
        check(libc.unshare(NEWCGROUP))
        os.umask(0o022)
        for name, soft, hard in spec["rlimits"]:
            resource.setrlimit(getattr(resource, name), (soft, hard))
        os.chdir(spec["folder"])
        _confine(spec)
        environment = dict(spec["environment"])
        if not spec["clean_environment"]:
            environment = {**os.environ, **environment}
        os.execvpe(spec["argv"][0], spec["argv"], environment)  # noqa: S606
    except FileNotFoundError:
        os.write(2, f"usher: {spec['argv'][0]}: not found\n".encode())
        code = 127
    except OSError as error:
        os.write(2, f"usher: {spec['argv'][0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(code)


def _confine(spec: dict[str, Any]) -> None:
    """Give up all privileges irrevocably."""
    if spec["confined_by"]:
        with open("/proc/self/attr/exec", "w", encoding="ascii") as file:
            file.write(f"exec {spec['confined_by']}")
    if spec["no_new_privileges"]:
        check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if spec["filter"]:  # the filter allows the following calls
        _filter_calls(bytes.fromhex(spec["filter"]))
    _give_up_privileges(spec["user"], keeps=not spec["no_capabilities"])


def _give_up_privileges(user: int, *, keeps: bool = False) -> None:
    """Become an unprivileged user, without capabilities unless it `keeps` them."""
    if not keeps:
        for number in range(LAST_CAPABILITY + 1):
            if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
                break  # the kernel has no more
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if not keeps:
        head = struct.pack("=II", CAPABILITY_VERSION_3, 0)
        check(libc.capset(head, bytes(24)))


def _filter_calls(program: bytes) -> None:
    """https://man7.org/linux/man-pages/man2/seccomp.2.html"""
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(fprog, len(fprog))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, pointer, 0, 0))


if sys.platform != "linux":
    raise ImportError("boxes are made on Linux")
