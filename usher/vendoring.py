"""Copies this package with the part of `chalicelib.contract` that it needs.

In a checkout the contract is in `chalicelib/contract`. A wheel and an image have it as
`usher.contract`, because a project with jobs may be a Chalice project with a `chalicelib` of its
own.
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
    """Rewrite all imports of the contract below `folder` to `usher.contract`."""
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        changed = text.replace(chalicelib.contract.__name__, OURS)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
