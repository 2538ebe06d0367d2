"""A copy of this package that carries what it needs of `chalicelib.contract` inside itself.

In a checkout of the project the contract stands in `chalicelib/contract`, where the dispatcher has
it. A wheel and an image get it as `usher.contract` instead: a project that jobs are written for may
be a Chalice project, and that has a `chalicelib` of its own.
"""

import shutil
from pathlib import Path

import chalicelib.contract

HERE = Path(__file__).parent
CONTRACT = Path(chalicelib.contract.__file__).parent
OURS = "usher.contract"
"""The contract's name in a copy."""


def copy_package(target: Path) -> None:
    """Copy `usher` to `target`, which may exist, with the contract as its part `contract`."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE, target, ignore=ignore, dirs_exist_ok=True)
    shutil.copytree(CONTRACT, target / "contract", ignore=ignore, dirs_exist_ok=True)
    point_to_copy(target)


def copy_contract(target: Path) -> None:
    """Copy the contract to `target`, a `chalicelib`, for Dockerfiles and programs that name it."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CONTRACT, target / "contract", ignore=ignore)
    (target / "__init__.py").touch()


def point_to_copy(folder: Path) -> None:
    """Have all modules below `folder` import the contract as a part of usher."""
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        changed = text.replace(chalicelib.contract.__name__, OURS)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
