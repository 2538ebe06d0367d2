"""Build contexts are complete, bases are minimal, hashes detect changes."""

import dataclasses
import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import docker
import pytest

from local.hosts.base import CannotPullImageError
from local.hosts.base_image import RECIPES, Recipe, packed
from local.hosts.cache import cache_folder, locked
from local.hosts.image_builder import (
    FOLDER_LABEL,
    content_hash,
    context_files,
    dockerfile_name,
    pip_arguments,
    remove_images_of_gone_folders,
    signature_of,
    write_context,
)
from local.hosts.images import ImageSource, folder_image, session_image

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path) -> Path:
    for name in ("a/x.py", "a/__pycache__/x.pyc", "b.py", "c.py", "docker/Dockerfile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_context_holds_what_is_included_and_the_dockerfile(project):
    source = ImageSource("i", project / "docker" / "Dockerfile", project, include=("a", "b.py"))
    assert list(context_files(source)) == ["a/x.py", "b.py", "docker/Dockerfile"]
    assert dockerfile_name(source) == "docker/Dockerfile"


def test_without_a_list_the_context_is_what_dockerignore_leaves(project):
    (project / ".dockerignore").write_text("# not these\n**/__pycache__\nc.py\ndocker\n")
    source = ImageSource("i", project / "docker" / "Dockerfile", project)
    assert list(context_files(source)) == [
        ".dockerignore",
        "a/x.py",
        "b.py",
        "docker/Dockerfile",
    ]


def test_a_dockerfile_from_elsewhere_is_put_into_the_context(project):
    source = ImageSource("i", project / "docker" / "Dockerfile", project / "a", include=("x.py",))
    assert list(context_files(source)) == ["Dockerfile", "x.py"]


def test_the_context_of_a_folder_has_usher_beside_what_is_in_it(project):
    (project / "Dockerfile").write_text("FROM a")
    names = set(context_files(folder_image(f"dir:{project}")))
    assert {"a/x.py", "usher/__init__.py", "usher/contract/jobs.py"} <= names
    assert {"chalicelib/__init__.py", "chalicelib/contract/jobs.py"} <= names
    assert not {n for n in names if n.startswith(("chalicelib/jobs", "usher/__pycache__"))}
    (project / "chalicelib").mkdir()
    (project / "chalicelib" / "own.py").touch()
    names = set(context_files(folder_image(f"dir:{project}")))
    assert {n for n in names if n.startswith("chalicelib")} == {"chalicelib/own.py"}
    (project / "usher").mkdir()
    assert "usher/__init__.py" not in context_files(folder_image(f"dir:{project}"))


def test_a_changed_folder_is_told_by_its_signature(project):
    (project / "Dockerfile").write_text("FROM a")
    source = folder_image(f"dir:{project}")
    before = signature_of(source)
    assert signature_of(source) == before
    (project / "b.py").write_text("changed")
    assert signature_of(source) != before


def test_a_folder_without_a_dockerfile_is_refused_in_ecs_words(project):
    with pytest.raises(CannotPullImageError, match=r"^CannotPullContainerError: .*Dockerfile"):
        signature_of(folder_image(f"dir:{project}"))


def test_the_session_image_gets_nothing_of_the_dispatcher():
    names = list(context_files(session_image(ROOT)))
    shipped = [name for name in names if name.startswith("chalicelib")]
    assert "chalicelib/contract/__init__.py" in shipped
    assert all(n == "chalicelib/__init__.py" or "/contract/" in n for n in shipped)
    assert {name.split("/")[0] for name in names} == {"session_handler", "chalicelib"}


def test_the_hash_tells_content_path_permission_and_base_but_not_time(project):
    source = ImageSource("i", project / "docker" / "Dockerfile", project, include=("a", "b.py"))

    def now(base: str = "base") -> str:
        return content_hash(context_files(source), base)

    first = now()
    assert now("other") != first
    (project / "b.py").touch()
    assert now() == first
    (project / "b.py").chmod(0o755)
    second = now()
    assert second != first
    (project / "b.py").write_text("changed")
    third = now()
    assert third != second
    (project / "a" / "x.py").rename(project / "a" / "y.py")
    assert now() != third


def test_a_context_is_the_same_for_everyone(project):
    (project / "b.py").chmod(0o600)
    (project / "c.py").chmod(0o700)
    (project / "wheels").mkdir()
    file = io.BytesIO()
    write_context(file, {"b.py": project / "b.py", "c.py": project / "c.py"}, project / "wheels")
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        seen = {entry.name: (entry.mode, entry.uid, entry.mtime) for entry in tar}
    assert seen == {"b.py": (0o644, 0, 0), "c.py": (0o755, 0, 0), "wheels": (0o755, 0, 0)}


def test_wheels_are_those_of_the_base(tmp_path):
    base = {"Config": {"Env": ["PATH=/bin", "PYTHON_VERSION=3.12.4"]}, "Architecture": "arm64"}
    lock, ranges = tmp_path / "requirements.lock", tmp_path / "requirements.txt"
    calls = pip_arguments([lock, ranges], base, tmp_path)
    for arguments in calls:
        assert arguments[arguments.index("--python-version") + 1] == "3.12"
        assert "manylinux2014_aarch64" in arguments
    hashed, free = calls
    assert "--require-hashes" in hashed
    assert str(lock) in hashed
    assert str(ranges) not in hashed
    assert "--require-hashes" not in free
    assert str(ranges) in free
    assert len(pip_arguments([lock], base, tmp_path)) == 1


def test_a_base_is_packed_without_set_id_bits_devices_and_documentation():
    def entry(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o755) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode = kind, mode
        return info

    left_out = Recipe().left_out
    assert packed(entry("./usr/bin/su", mode=0o6755), left_out).mode == 0o755
    assert packed(entry("./usr/share/doc", tarfile.DIRTYPE), left_out)
    assert packed(entry("./usr/share/doc/x"), left_out) is None
    assert packed(entry("./usr/share/document"), left_out)
    assert packed(entry("./run/pipe", tarfile.FIFOTYPE), left_out) is None
    assert packed(entry("./x", tarfile.CHRTYPE), left_out) is None


class Images:
    """The image methods of the Engine's client."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.in_use: set[str] = set()

    def images(self, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        assert filters == {"label": [FOLDER_LABEL]}
        return [
            {"RepoTags": [tag], "Labels": {FOLDER_LABEL: str(folder)}}
            for tag, folder in self.folders.items()
        ]

    def remove_image(self, tag: str) -> None:
        if tag in self.in_use:
            raise docker.errors.APIError("conflict", explanation="a container runs it")
        del self.folders[tag]


def test_images_of_folders_that_are_gone_are_removed_unless_they_are_in_use(tmp_path):
    images = Images({"here:1": tmp_path, "gone:1": tmp_path / "x", "gone:2": tmp_path / "y"})
    images.in_use.add("gone:2")
    remove_images_of_gone_folders(images)
    assert list(images.folders) == ["here:1", "gone:2"]
    images.in_use.clear()
    remove_images_of_gone_folders(images)
    assert list(images.folders) == ["here:1"]


def test_two_builders_take_turns(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    order: list[str] = []
    at_the_door = threading.Event()

    def second() -> None:
        at_the_door.set()
        with locked("base"):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked("base"), locked("another"):
        thread.start()
        assert at_the_door.wait(10)
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert cache_folder() == tmp_path / "usher"


def test_another_recipe_is_another_image():
    recipe = RECIPES["python"]
    tags = {each.tag for each in RECIPES.values()}
    changed = dataclasses.replace(recipe, links=())
    assert len({*tags, changed.tag}) == len(RECIPES) + 1
    assert recipe.tag == dataclasses.replace(recipe).tag
