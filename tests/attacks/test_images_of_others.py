"""An image in another user's folder writes the files of who runs the embedded cloud.

Attacker: another user of the machine, who can change a folder that an image is made of. Goal: write
a file as the user of `local up`. Reach: the program of the image, run as a process.
"""

from pathlib import Path

import pytest

from local.hosts.base import CannotStartError, Exit
from local.hosts.images import ImageSource
from local.hosts.isolation import Folder, Kind, decide_trust, works
from local.hosts.process import ProcessHost
from tests.integration.conftest import wait_until
from tests.integration.process_images import spec_of

ME, OTHER = 1000, 1001
UNPROTECTED = [Kind.UNSHARE, Kind.NONE]


def start(tmp_path: Path, kind: Kind, **settings) -> tuple[Path, Exception | None]:
    """Start a program that writes a file of the user; the file, and why it did not start."""
    image, logs, target = tmp_path / "image", tmp_path / "logs", tmp_path / "bashrc"
    image.mkdir(mode=0o755)
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


@pytest.mark.parametrize("kind", UNPROTECTED)
def test_it_is_not_started_where_files_are_not_protected(tmp_path, kind):
    target, error = start(tmp_path, kind, user=tmp_path.stat().st_uid + 1)
    assert "--allow-unprotected" in str(error)
    assert not target.exists()


def test_the_switch_and_ones_own_folder_start_it_and_show_what_it_can_do(tmp_path):
    for name, settings in (("own", {}), ("switch", {"user": 4711, "allow_unprotected": True})):
        (tmp_path / name).mkdir()
        target, error = start(tmp_path / name, Kind.NONE, **settings)
        assert error is None
        assert target.read_text() == "attack\n"


def test_bubblewrap_starts_it_and_keeps_files_as_they_are(tmp_path):
    if not works(Kind.BUBBLEWRAP):
        assert not Kind.UNSHARE.protects_files
        return
    target, error = start(tmp_path, Kind.BUBBLEWRAP, user=tmp_path.stat().st_uid + 1)
    assert error is None
    assert not target.exists()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("folder", [Folder(ME, False), Folder(ME, True), Folder(OTHER, False)])
def test_only_ones_own_folders_are_trusted_without_protection(kind, folder):
    is_trusted = kind is Kind.BUBBLEWRAP or folder == Folder(ME, False)
    assert (decide_trust(kind, folder, ME) is None) == is_trusted
