"""The processes between the judge and bubblewrap: a separate program, standard library only.

One is started for the runs of a submission and forks a launcher for each of them, which costs a
fraction of another start of Python. It holds no data of a run: a launcher gets everything by the
descriptors of its request.

A launcher makes the bounded scratch file system in a new mount namespace, writes the files there,
starts bubblewrap as an unprivileged user in the control group, waits for all remaining processes,
and reports. Descriptors of a request, in this order: the program's stdin, stdout and stderr; the
specification, one line of JSON and then the contents of the files; the report, which takes one line
of JSON and then the contents of files; the system call filter; and a pipe that no other process
has, so that its other end sees the launcher's end.

SIGTERM kills the processes that a launcher started; then it reports as usual. It begins with
SIGTERM blocked, so that an early one is pending until there is a process to kill.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_INTO_CGROUP = 0x00020000, 0x10000000, 0x200000000
CLONE3 = 435
"""Number of the system call, the same on all architectures."""
CLONE_ARGUMENTS = struct.Struct("=11Q")
"""struct clone_args of linux/sched.h."""
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
MOST_FILES = 4096
LONGEST_PATH = 2000
"""Bytes of a collected file's path; the kernel takes 4095 with the directories above."""
MOST_LEFT_OUT = 100
"""Names of entries that were not collected."""
FDS = 7
FILTER_FD = 100
"""Descriptor of the system call filter for bubblewrap."""
OWN_USERS = {64001: range(61_184, 62_784), 64002: range(62_784, 64_000)}
"""Users of single runs, for a learner's program and an author's: ids that no other software uses.
https://systemd.io/UIDS-GIDS/
"""
PLACES = {"box": 0o755, "tmp": 0o1777, "shm": 0o1777}

libc = ctypes.CDLL(None, use_errno=True)
forking = ctypes.PyDLL(None)
"""Keeps the interpreter's lock during a call, so that a child has it."""


def check(result: int) -> None:
    """Raises OSError if a call to libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def open_folder(path: str | None) -> int | None:
    """A descriptor of the directory; None without one."""
    return None if path is None else os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def fork_into(folder: int | None) -> tuple[int, bool]:
    """Fork in a process of one thread. Returns the child's number, 0 in the child, and whether the
    child is in the control group of version 2 at this descriptor.

    A child that starts in its group does not wait for the forks of other processes, as one that
    moves there does. https://man7.org/linux/man-pages/man2/clone.2.html
    """
    if folder is not None:
        arguments = CLONE_ARGUMENTS.pack(
            CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, folder
        )
        call = (ctypes.c_long(CLONE3), arguments, ctypes.c_size_t(len(arguments)))
        child = int(forking.syscall(*call))
        if child >= 0:
            return child, True
    return os.fork(), False


def main() -> None:
    """argv: the descriptor of the socket with the requests. Ends with the judge."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.set_inheritable(False)
    server = os.getpid()
    launched = 0
    while True:
        message, fds, _, _ = socket.recv_fds(requests, 1, FDS)
        if not message:
            break
        for fd in fds:  # recv_fds clears their close-on-exec flag
            os.set_inheritable(fd, False)
        if launched:  # its process number was reserved for signals until now
            os.waitpid(launched, 0)
        launched = os.fork()
        if launched == 0:
            requests.close()
            launch(fds, server)
        for fd in fds:
            os.close(fd)
        requests.sendall(struct.pack("=i", launched))


def launch(fds: list[int], server: int) -> None:
    """Process one run and end; also if the server ends first."""
    code = 1
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if os.getppid() != server:
            os._exit(code)
        *streams, spec_fd, report_fd, filter_fd, _ = fds
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
            os.close(fd)
        os.dup2(filter_fd, FILTER_FD)
        attend(spec_fd, report_fd)
        code = 0
    except Exception as error:  # noqa: BLE001 - there is no report then, and this says why
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(code)


def attend(spec_fd: int, report_fd: int) -> None:
    """Read the input, run it, and report."""
    with os.fdopen(spec_fd, "rb") as file, os.fdopen(report_fd, "wb") as report:
        spec = json.loads(file.readline())
        try:
            report_fields, contents = run(spec, file)
        except OSError as error:
            report_fields, contents = {"trouble": f"{error}"}, []
        report.write(json.dumps(report_fields).encode() + b"\n")
        for data in contents:
            report.write(data)


def run(spec: dict[str, Any], contents: Any) -> tuple[dict[str, Any], list[bytes]]:
    """The report, and the contents of the files in it."""
    scratch = spec["scratch"]
    if os.getuid() == 0:
        spec["user"] = own_user(spec["user"])
    make_scratch(scratch, spec["scratch_options"], spec["etc"])
    box = os.path.join(scratch, "box")
    sized = ((file, contents.read(file[2])) for file in spec["files"])
    fill_scratch(scratch, sized, spec["user"], writable=spec["writable"])
    status_fd, tell_fd = os.pipe()
    os.set_inheritable(tell_fd, True)
    child = start(spec, tell_fd)
    os.close(tell_fd)
    killed: list[int] = []

    def on_term(number: int, _: Any) -> None:
        killed.append(number)
        kill(child)

    signal.signal(signal.SIGTERM, on_term)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for fd in (0, 1, 2):  # only the program has them from now on, so their ends are noticed
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, fd)
    status = wait_for(child, ends_all=spec["ends_all"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report_fields: dict[str, Any] = {
        "status": status,
        "began": bool(killed) or has_begun(os.read(status_fd, 4096)),
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "memory_bytes": used.ru_maxrss * 1024,
        "files": [],
        "left_out": [],
    }
    if not spec["collect"]:
        return report_fields, []
    found = collect(box, spec["collect_bytes"], report_fields["left_out"])
    report_fields["files"] = [[name, mode, len(data)] for name, mode, data in found]
    return report_fields, [data for _, _, data in found]


def own_user(user: int) -> int:
    """A user for one run in the role of `user`, drawn at random.

    The kernel counts inotify instances, timers and memory of pipes by user, in all namespaces
    together: a run must not use up what another one needs.
    """
    ids = OWN_USERS.get(user)
    return user if ids is None else ids[int.from_bytes(os.urandom(4), "big") % len(ids)]


def make_scratch(place: str, options: str, etc: str) -> None:
    """Mount a tmpfs there that only this process and its children see, and `etc` in it."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        check(libc.unshare(CLONE_NEWNS))
    else:
        check(libc.unshare(CLONE_NEWNS | CLONE_NEWUSER))
        for name, text in (
            ("uid_map", f"{uid} {uid} 1"),
            ("setgroups", "deny"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    source = os.open(etc, os.O_PATH | os.O_DIRECTORY)  # the next mount may hide its path
    flags = MS_NOSUID | MS_NODEV
    check(libc.mount(b"scratch", place.encode(), b"tmpfs", flags, options.encode()))
    target = os.path.join(place, "etc")
    os.mkdir(target)
    check(libc.mount(f"/proc/self/fd/{source}".encode(), target.encode(), None, MS_BIND, None))
    os.close(source)


def fill_scratch(
    scratch: str, files: Iterable[tuple[Any, bytes]], user: int, *, writable: bool
) -> None:
    """The directories of a box with the given files; each is ((name, mode, size), contents).

    `user` owns what it may write, if this process may change owners.
    """
    for name, mode in PLACES.items():
        place = os.path.join(scratch, name)
        os.mkdir(place)
        os.chmod(place, mode)
    fill_folder(os.path.join(scratch, "box"), files, user, writable=writable)


def fill_folder(
    folder: str, files: Iterable[tuple[Any, bytes]], user: int, *, writable: bool
) -> None:
    """The given files in a directory below which only the judge has written yet."""
    owner = user if os.getuid() == 0 and writable else None
    for (name, mode, _), data in files:
        put_file(folder, name, mode, data, owner)
    if owner is not None:
        os.chown(folder, owner, owner)
    elif not writable:
        os.chmod(folder, 0o555)  # noqa: S103 - read and entered by the box's user


def put_file(box: str, name: str, mode: int, data: bytes, owner: int | None) -> None:
    """A file of the judge: only the judge has written below `box` yet."""
    path = os.path.join(box, name)
    folder = box
    for part in name.split("/")[:-1]:
        folder = os.path.join(folder, part)
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o755)
            if owner is not None:
                os.chown(folder, owner, owner)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, owner, owner)


def has_begun(status: bytes) -> bool:
    """Whether the command ran, from bubblewrap's status: it reports an exit code only then."""
    return b'"exit-code"' in status


def start(spec: dict[str, Any], tell_fd: int) -> int:
    """Fork and exec bubblewrap; returns the child's number."""
    folder = open_folder(spec["group"])
    child, is_in_group = fork_into(folder)
    if child:
        if folder is not None:
            os.close(folder)
        return child
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL if spec["ends_all"] else 0, 0, 0, 0)
        for path in [] if is_in_group else spec["groups"]:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, b"0")
            os.close(fd)
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(spec["user"], spec["user"], spec["user"])
            os.setresuid(spec["user"], spec["user"], spec["user"])
            # A change of the user clears it.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL if spec["ends_all"] else 0, 0, 0, 0)
        for name, soft, hard in spec["rlimits"]:
            resource.setrlimit(getattr(resource, name), (soft, hard))
        os.chdir("/")
        command = [spec["argv"][0], "--json-status-fd", str(tell_fd), *spec["argv"][1:]]
        os.execve(command[0], command, spec["environment"])  # noqa: S606
    except OSError as error:
        os.write(2, f"usher: the box cannot be started: {error}\n".encode())
    finally:
        os._exit(126)
    return 0


def kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def wait_for(child: int, *, ends_all: bool) -> int:
    """The child's exit code, after all its descendants are dead."""
    _, status = os.waitpid(child, 0)
    while ends_all:
        # Orphans of a box become children of this process: the kernel kills them with the box's
        # first process, and their resources are counted here.
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def collect(box: str, most_bytes: int, left_out: list[str]) -> list[tuple[str, int, bytes]]:
    """The regular files below `box`: no links, at most `most_bytes` in total.

    `left_out` gets the names of the first other entries. A tree may be deeper than the kernel takes
    paths or Python recurses.
    """
    found: list[tuple[str, int, bytes]] = []
    bytes_left = most_bytes
    for below in files_below(box, left_out):
        path = os.path.join(box, below)
        status = os.lstat(path)
        is_wanted = stat.S_ISREG(status.st_mode) and status.st_size <= bytes_left
        if not is_wanted or len(found) >= MOST_FILES or not is_text(below):
            note_left(below, left_out)
            continue
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            data = file.read(bytes_left)
        bytes_left -= len(data)
        found.append((below, status.st_mode & 0o755, data))
    return found


def files_below(box: str, left_out: list[str]) -> Iterator[str]:
    """The paths of all entries that are no directories, relative to `box`."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(box, folder)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except PermissionError:  # the program closed it to its own user
            note_left(folder, left_out)
            continue
        inner = []
        for entry in entries:
            below = os.path.join(folder, entry.name)
            if len(os.fsencode(below)) > LONGEST_PATH:
                note_left(below[:LONGEST_PATH], left_out)
            elif entry.is_dir(follow_symlinks=False):
                inner.append(below)
            else:
                yield below
        folders += reversed(inner)


def note_left(below: str, left_out: list[str]) -> None:
    """Record an entry that is not collected."""
    if len(left_out) < MOST_LEFT_OUT:
        left_out.append(below.encode("utf-8", "replace").decode())


def collect_named(
    paths: Iterable[tuple[str, str]], most_bytes: int
) -> list[tuple[str, int, bytes]]:
    """Regular files at (path, name in the report), each cut after `most_bytes`."""
    found = []
    for path, name in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # it does not exist, or is a link
            continue
        with open(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found.append((name, 0o644, file.read(most_bytes)))
    return found


def is_text(name: str) -> bool:
    """Whether a name can be written as JSON."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main()
