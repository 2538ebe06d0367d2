"""Writes the files of a new project, or of one more job in a project; never over others."""

import re
from collections.abc import Iterator
from pathlib import Path

from usher.discovery import FOLDER
from usher.errors import ProjectError

HERE = Path(__file__).parent
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def write_project(name: str, folder: Path) -> list[Path]:
    """Make what is missing for a job called `name` in `folder`, and return what was made.

    Raises ProjectError when the job's own files are there already.
    """
    if not NAME.fullmatch(name):
        raise ProjectError(
            f"{name!r} is no name for a job: 1 to 40 of a-z, 0-9 and _, beginning with a letter"
        )
    own = dict(_of_the_job(name))
    there = [str(folder / path) for path in own if (folder / path).exists()]
    if there:
        raise ProjectError(f"{', '.join(there)} is there already, and nothing was written")
    made = []
    for path, text in {**dict(_of_the_project()), **own}.items():
        target = folder / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            made.append(target)
    return made


def _of_the_job(name: str) -> Iterator[tuple[str, str]]:
    words = name.strip("_").split("_")
    values = {
        "name": name,
        "class": "".join(word.capitalize() for word in words),
        "title": " ".join(words).capitalize(),
    }
    yield f"{FOLDER}/{name}.py", _filled("job.py", values)
    yield f"parameters/{name}.json", _filled("parameters.json", values)
    yield f"tests/test_{name}.py", _filled("test.py", values)


def _of_the_project() -> Iterator[tuple[str, str]]:
    yield f"{FOLDER}/__init__.py", ""
    yield "conftest.py", _filled("conftest.py", {})
    yield "requirements.txt", _filled("requirements.txt", {})
    yield ".dockerignore", _filled("dockerignore", {})
    yield "Dockerfile", (HERE / "Dockerfile").read_text(encoding="utf-8")


def _filled(template: str, values: dict[str, str]) -> str:
    text = (HERE / "template" / f"{template}.txt").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text
