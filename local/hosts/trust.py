"""Whether others can change the programs of a directory, and whether these are started then.

Relevant are those who may write the directory or anything in it, and those who may replace it
because they may write a parent directory. If that has the sticky bit, as /tmp has, only owners may.
root can do everything anyway and is trusted.

https://man7.org/linux/man-pages/man7/inode.7.html https://man7.org/linux/man-pages/man5/acl.5.html:
with an access list the group's bits are the maximum of everybody on the list.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from local.hosts.isolation import Kind

ROOT_USER = 0


@dataclass(frozen=True)
class Entry:
    """A file or folder with the users that may change it."""

    path: Path
    owner: int
    mode: int
    """Mode with the kind of file, as `st_mode`."""
    is_group_shared: bool = True
    """Whether its group has other members than the user, or an access list names others."""
    is_above: bool = False
    """Whether the programs are in a directory below it; then only its replacement matters."""

    def others(self, user: int) -> str | None:
        """Others besides `user` and root that may change it, for display; None for nobody."""
        if self.owner not in (user, ROOT_USER):
            return f"user {self.owner}"
        if stat.S_ISLNK(self.mode) or (self.is_above and self.mode & stat.S_ISVTX):
            return None
        if self.mode & stat.S_IWOTH:
            return "everybody"
        return "its group" if self.mode & stat.S_IWGRP and self.is_group_shared else None


def read_entries(folder: Path, user: int) -> Iterator[Entry]:
    """The directory, its parents (also those of its links' targets), and its content.

    Raises OSError if something cannot be read, because its writers are then unknown.
    """
    whole = Path(os.path.abspath(folder))
    real = folder.resolve(strict=True)
    for path in sorted({*whole.parents, *real.parents}):
        yield _entry(path, user, is_above=True)
    if whole != real:
        yield _entry(whole, user)
    yield _entry(real, user)
    for place, folders, files in os.walk(real, onerror=_fail):
        for name in folders + files:
            yield _entry(Path(place, name), user)


def decide_trust(kind: Kind, entries: Iterator[Entry], user: int) -> str | None:
    """The reason why programs of a directory are not started for `user`; None if they may be.

    Without protection of files a program can do what the user can: only programs that nobody else
    can change are started. Stops reading at the first entry that others can change.
    """
    if kind.protects_files:
        return None
    for entry in entries:
        if others := entry.others(user):
            return (
                f"{others} may change {entry.path}, and this isolation ({kind.value}) does not "
                "protect your files from it: install bubblewrap, use Docker, or say "
                "--allow-unprotected"
            )
    return None


def _entry(path: Path, user: int, *, is_above: bool = False) -> Entry:
    found = path.lstat()
    writes = bool(found.st_mode & stat.S_IWGRP) and not stat.S_ISLNK(found.st_mode)
    shared = writes and (_has_access_list(path) or _is_shared(found.st_gid, user))
    return Entry(path, found.st_uid, found.st_mode, shared, is_above)


def _has_access_list(path: Path) -> bool:
    if not hasattr(os, "listxattr"):
        return True  # not Linux: its members are unknown here
    return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)


@cache
def _is_shared(group: int, user: int) -> bool:
    """Whether a group is more than the one that some systems make for each user, with its name."""
    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return True
    primary = {each.pw_name for each in pwd.getpwall() if each.pw_gid == group}
    return found.gr_name != name or not {*found.gr_mem, *primary} <= {name}


def _fail(error: OSError) -> None:
    raise error
