"""Projects in folders of their own; their modules are unloaded after a test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Make a project: `project(a="text of jobs/a.py")` returns its folder."""
    path = list(sys.path)
    others = {name: sys.modules.pop(name) for name in _modules()}  # of the examples, for instance

    def make(**files: str) -> Path:
        (tmp_path / "jobs").mkdir(exist_ok=True)
        (tmp_path / "jobs" / "__init__.py").touch()
        for name, text in files.items():
            (tmp_path / "jobs" / f"{name}.py").write_text(dedent(text))
        return tmp_path

    yield make
    sys.path[:] = path
    for name in _modules():
        del sys.modules[name]
    sys.modules.update(others)


def _modules() -> list[str]:
    """Returns the loaded modules of a project."""
    return [name for name in sys.modules if name.partition(".")[0] == "jobs"]
