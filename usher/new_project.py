"""Writes the files of a new project, or of another job in a project; never overwrites files."""

import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from chalicelib.contract.jobs import JOB_NAME, JOB_NAME_RULE
from usher.discovery import FOLDER
from usher.errors import ProjectError
from usher.job import snake_case

HERE = Path(__file__).parent
TAKEN = frozenset({"Job", "BaseModel", "Field"})
"""Names that the template imports: a class of that name would hide them."""


def write_project(name: str, folder: Path) -> list[Path]:
    """Create the missing files for a job called `name` in `folder`; returns the created ones.

    Raises ProjectError if the job's own files exist.
    """
    _check_name(name)
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


def _check_name(name: str) -> None:
    """Raises ProjectError unless a class can have this name as a job."""
    if not JOB_NAME.fullmatch(name):
        better = snake_case(re.sub(r"[^A-Za-z0-9_]+", "_", name)).strip("_")
        hint = f"; {better} would be one" if JOB_NAME.fullmatch(better) else ""
        raise ProjectError(f"{name!r} is no name for a job: {JOB_NAME_RULE}{hint}")
    title = class_name(name)
    if keyword.iskeyword(name) or keyword.iskeyword(title) or title in TAKEN:
        raise ProjectError(
            f"{name!r} is no name for a job: Python or the job's own module means something else "
            f"by it; {name}_job would be one"
        )
    if snake_case(title) != name:
        raise ProjectError(
            f"{name!r} is no name for a job: no class has it, as {title} is the job "
            f"{snake_case(title)}; single _ between words make one"
        )


def class_name(name: str) -> str:
    """The class name of a job: PriceAlert for price_alert, Top_10 for top_10."""
    parts = [word.capitalize() for word in name.split("_") if word]
    return "".join(("_" if word[0].isdecimal() else "") + word for word in parts)


def _of_the_job(name: str) -> Iterator[tuple[str, str]]:
    parts = name.strip("_").split("_")
    values = {
        "name": name,
        "class": class_name(name),
        "title": " ".join(parts).capitalize(),
    }
    yield f"{FOLDER}/{name}.py", filled("job.py", values)
    yield f"parameters/{name}.json", filled("parameters.json", values)
    yield f"tests/test_{name}.py", filled("test.py", values)


def _of_the_project() -> Iterator[tuple[str, str]]:
    yield f"{FOLDER}/__init__.py", ""
    yield "conftest.py", filled("conftest.py", {})
    yield "requirements.txt", filled("requirements.txt", {})
    yield ".dockerignore", filled("dockerignore", {})
    yield "Dockerfile", (HERE / "Dockerfile").read_text(encoding="utf-8")


def filled(template: str, values: dict[str, str]) -> str:
    """The text of a template, with its {{names}} replaced."""
    text = (HERE / "template" / f"{template}.txt").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text
