"""The `usher` package as in wheels and images, for images of jobs that run on this machine.

It contains the contract (see `usher.vendoring`), so a project may have a `chalicelib` of its own;
for other projects `chalicelib.contract` is there as well. The copy is created once for each content
and Python, in the user's cache directory.
"""

import compileall
import hashlib
import shutil
import sys
from functools import cache
from pathlib import Path

from local.hosts.cache import cache_folder, keep_newest, locked
from usher.vendoring import CONTRACT, HERE, copy_contract, copy_package


@cache
def own_package() -> Path:
    """The directory with `usher`, compiled, and the contract as `chalicelib`."""
    key = _key()
    folder = cache_folder() / "usher" / key
    with locked(f"usher-{key}"):
        if not folder.is_dir():
            partial = folder.with_name(f"{key}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            copy_package(partial / "usher")
            copy_contract(partial / "chalicelib")
            compileall.compile_dir(partial, quiet=2)
            partial.rename(folder)
            keep_newest(folder)
    return folder


def _key() -> str:
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\0".encode())
    for place in (HERE, CONTRACT):
        for path in sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(place)}\0".encode())
                digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
