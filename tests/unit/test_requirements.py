"""Every imported package is a direct requirement, not one of another package only."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [
    *ROOT.glob("requirements*.txt"),
    ROOT / "session_handler" / "requirements.txt",
    ROOT / "usher" / "requirements.txt",
]
MODULES = {
    "pyyaml": "yaml",
    "google-re2": "re2",
    "jsonschema-rs": "jsonschema_rs",
    "openapi-spec-validator": "openapi_spec_validator",
    "aws-sam-translator": "samtranslator",
    "cyclonedx-python-lib": "cyclonedx",
}
"""Packages whose module has a different name."""

IN_PROJECTS = {"jobs", *(path.stem for path in (ROOT / "examples").glob("*/*/*.py"))}
"""Modules of the projects in examples/."""

COME_WITH = {"botocore": "boto3"}
"""Modules that are the other's lower half, released together with it."""

OTHERS = {"peers", "node_modules", ".venv"}
"""Folders with code of other projects."""


def test_every_package_that_is_imported_is_named():
    named = set()
    for file in FILES:
        for line in file.read_text().splitlines():
            if found := re.match(r"[A-Za-z][\w.-]*", line):
                name = found[0].lower()
                named.add(MODULES.get(name, name))
    imported = {COME_WITH.get(name, name): file for file in _sources() for name in _imports(file)}
    assert {name: file for name, file in imported.items() if name not in named} == {}


def _sources():
    rooms = (
        "chalicelib",
        "session_handler",
        "usher",
        "local",
        "benchmarks",
        "tests",
        "examples",
        "simulation",
    )
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    return [ROOT / "app.py", *(file for file in files if not OTHERS.intersection(file.parts))]


def _imports(file):
    """Names of the modules from elsewhere that a file imports."""
    ours = {path.stem for path in ROOT.iterdir()} | IN_PROJECTS
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0):
                names = [node.module]
            case _:
                continue
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ours:
                yield top
