"""An image in another user's folder writes files as the user that runs the embedded cloud.

Attacker: another user of the machine, who can change a folder that an image is made of, something
in it, or what is above it. Goal: write a file as the user of `local up`. Reach: the program of
the image, run as a process.
"""

import os
import stat
from pathlib import Path

import pytest

from local.hosts.base import CannotStartError, Exit
from local.hosts.images import ImageSource
from local.hosts.isolation import Kind
from local.hosts.process import ProcessHost
from local.hosts.trust import Entry, decide_trust, read_entries
from tests.integration.conftest import wait_until
from tests.integration.process_images import spec_of
from tests.needs import needs_bubblewrap, needs_root

ME, OTHER = 1000, 1001
UNPROTECTED = [Kind.UNSHARE, Kind.NONE]


def start(tmp_path: Path, kind: Kind, **settings) -> tuple[Path, Exception | None]:
    """Start a program that writes a file of the user; the file, and why it did not start."""
    image, logs, target = tmp_path / "image", tmp_path / "logs", tmp_path / "bashrc"
    image.mkdir(exist_ok=True)
    logs.mkdir()
    (image / "Dockerfile").write_text("FROM scratch\nWORKDIR /app\nCOPY . .\n", "utf-8")
    ended: list[Exit] = []
    source = ImageSource("evil", image / "Dockerfile", image)
    host = ProcessHost("host", run_id="attack", images=[source], logs=logs, kind=kind, **settings)
    try:
        host.start(spec_of("sh", "-c", f"echo attack > {target}", image="evil"), ended.append)
        wait_until(lambda: ended, 30, "the end of the program")
    except CannotStartError as error:
        return target, error
    finally:
        host.close()
    return target, None


def another_user(tmp_path: Path) -> int:
    """Returns the id of a user that does not own the image's folder; root is trusted, so the folder
    is never root's.
    """
    if os.geteuid() != 0:
        return tmp_path.stat().st_uid + 1
    (tmp_path / "image").mkdir()
    os.chown(tmp_path / "image", OTHER, OTHER)
    return 0


@pytest.mark.parametrize("kind", UNPROTECTED)
def test_it_is_not_started_where_files_are_not_protected(tmp_path, kind):
    target, error = start(tmp_path, kind, user=another_user(tmp_path))
    assert "--allow-unprotected" in str(error)
    assert not target.exists()


def test_the_switch_and_ones_own_folder_start_it_and_show_what_it_can_do(tmp_path):
    for name, settings in (("own", {}), ("switch", {"user": 4711, "allow_unprotected": True})):
        (tmp_path / name).mkdir()
        target, error = start(tmp_path / name, Kind.NONE, **settings)
        assert error is None
        assert target.read_text() == "attack\n"


@needs_bubblewrap
def test_bubblewrap_starts_it_and_keeps_files_as_they_are(tmp_path):
    target, error = start(tmp_path, Kind.BUBBLEWRAP, user=another_user(tmp_path))
    assert error is None
    assert not target.exists()


@pytest.mark.parametrize("kind", UNPROTECTED)
@pytest.mark.parametrize("place", ["image", "image/Dockerfile", "image/lib", "image/lib/job.py"])
def test_what_everybody_may_write_is_not_started(tmp_path, kind, place):
    (tmp_path / "image" / "lib").mkdir(parents=True)
    (tmp_path / "image" / "lib" / "job.py").touch()
    changed = tmp_path / place
    if place == "image/Dockerfile":
        changed.touch()
    changed.chmod(changed.stat().st_mode | 0o002)
    target, error = start(tmp_path, kind)
    assert f"everybody may change {changed}" in str(error)
    assert not target.exists()


@pytest.mark.parametrize("kind", UNPROTECTED)
def test_what_others_may_put_another_folder_in_the_place_of_is_not_started(tmp_path, kind):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "project").mkdir()
    target, error = start(open_to_all / "project", kind)
    assert f"everybody may change {open_to_all}" in str(error)
    assert not target.exists()


def test_nor_where_others_may_change_where_a_link_leads(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "link").symlink_to(tmp_path / "real")
    entries = read_entries(tmp_path / "open" / "link", tmp_path.stat().st_uid)
    why = decide_trust(Kind.NONE, entries, tmp_path.stat().st_uid)
    assert f"everybody may change {tmp_path / 'open'}," in str(why)


def test_a_sticky_folder_above_replaces_nothing_of_the_user(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "shared" / "mine").mkdir()
    user = tmp_path.stat().st_uid
    assert decide_trust(Kind.NONE, read_entries(tmp_path / "shared" / "mine", user), user) is None
    # Into the folder itself others put files of their own, which programs import.
    assert decide_trust(Kind.NONE, read_entries(tmp_path / "shared", user), user) is not None


@needs_root
def test_a_group_with_others_in_it_is_others(tmp_path):
    tmp_path.chmod(0o770)
    os.chown(tmp_path, -1, 4711)  # no user has a group of this number alone
    why = decide_trust(Kind.NONE, read_entries(tmp_path, 0), 0)
    assert f"its group may change {tmp_path}," in str(why)


FOLDER, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
CHANGED_BY_OTHERS = [
    (Entry(Path("/p"), ME, FOLDER | 0o755), False),
    (Entry(Path("/p"), 0, FOLDER | 0o755), False),
    (Entry(Path("/p"), OTHER, FOLDER | 0o755), True),
    (Entry(Path("/p"), OTHER, FOLDER | 0o1777, is_above=True), True),
    (Entry(Path("/p"), ME, FOLDER | 0o777), True),
    (Entry(Path("/p"), ME, FOLDER | 0o1777), True),
    (Entry(Path("/p"), 0, FOLDER | 0o1777, is_above=True), False),
    (Entry(Path("/p"), ME, FOLDER | 0o775), True),
    (Entry(Path("/p"), ME, FOLDER | 0o775, is_group_shared=False), False),
    (Entry(Path("/p"), ME, FOLDER | 0o775, is_above=True), True),
    (Entry(Path("/p"), ME, FILE | 0o666), True),
    (Entry(Path("/p"), ME, LINK | 0o777), False),
    (Entry(Path("/p"), OTHER, LINK | 0o777), True),
]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("entry", "by_others"), CHANGED_BY_OTHERS)
def test_only_what_nobody_else_can_change_is_trusted_without_protection(kind, entry, by_others):
    trusted = decide_trust(kind, iter([entry]), ME) is None
    assert trusted == (kind is Kind.BUBBLEWRAP or not by_others)
