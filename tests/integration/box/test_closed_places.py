"""Boxes of bubblewrap where the folder for temporary files is closed to other users."""

import contextlib
import tempfile

from tests.needs import needs_bubblewrap
from usher.box.bubblewrap_box import BubblewrapBoxes
from usher.box.model import BoxSettings, File, Task


@needs_bubblewrap
def test_a_box_in_a_folder_that_its_user_may_not_enter(tmp_path, monkeypatch):
    place = tmp_path / "closed" / "open"
    place.mkdir(parents=True)
    place.parent.chmod(0o700)
    place.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    task = Task(("sh", "-c", "cat given; ls /etc/ld.so.cache"), {"given": File(b"read\n")})
    with contextlib.closing(BubblewrapBoxes()) as boxes:
        outcome = boxes.run(task, BoxSettings(wall_seconds=15, cpu_seconds=5))
    assert outcome.stdout == b"read\n/etc/ld.so.cache\n", outcome
    assert not list(place.iterdir())
