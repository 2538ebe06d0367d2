"""Writes the files of a new session app; never overwrites files."""

import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from usher.errors import ProjectError
from usher.new_project import class_name, filled

APP_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 32
APPS_FILE = "apps.toml"
PAGE = "page/index.html"
RULE = f"up to {MAX_NAME} small letters and digits, and single - between words"
TAKEN = frozenset({"session-handler", "chalicelib", "usher", "websockets", "tests", "page"})
"""Names beside the app's module in its image or its directory."""


def write_session_app(name: str, folder: Path) -> list[Path]:
    """Create a session app called `name` in `folder`; returns the created files.

    Raises ProjectError for an invalid name, and if any of the files exists.
    """
    _check_name(name)
    files = dict(_files(name))
    there = [str(folder / path) for path in files if (folder / path).exists()]
    if there:
        raise ProjectError(f"{', '.join(there)} is there already, and nothing was written")
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return [folder / path for path in files]


def module_name(name: str) -> str:
    """The module of the session app: price_alert for price-alert."""
    return name.replace("-", "_")


def _check_name(name: str) -> None:
    if not APP_NAME.fullmatch(name) or len(name) > MAX_NAME:
        better = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:MAX_NAME]
        hint = f"; {better} would be one" if APP_NAME.fullmatch(better) else ""
        raise ProjectError(f"{name!r} is no name for a session app: {RULE}{hint}")
    module = module_name(name)
    hides = module in sys.stdlib_module_names or keyword.iskeyword(module)
    if hides or name in TAKEN or name.startswith("job-"):
        raise ProjectError(
            f"{name!r} is no name for a session app: something else has it already; "
            f"my-{name} would be one"
        )


def _files(name: str) -> Iterator[tuple[str, str]]:
    module = module_name(name)
    values = {
        "app": name,
        "module": module,
        "class": class_name(module),
        "title": name.replace("-", " ").capitalize(),
    }
    yield f"{module}.py", filled("session/app.py", values)
    yield f"tests/test_{module}.py", filled("session/test.py", values)
    yield PAGE, filled("session/page.html", values)
    yield APPS_FILE, filled("session/apps.toml", values)
    yield "Dockerfile", filled("session/Dockerfile", values)
    yield "requirements.txt", filled("session/requirements.txt", values)
    yield "conftest.py", filled("session/conftest.py", values)
    yield ".dockerignore", filled("dockerignore", values)
