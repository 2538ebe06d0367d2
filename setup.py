"""How the wheel differs from the checkout: the contract is a part of `usher` in it."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))

from usher.vendoring import copy_package, point_to_copy


class BuildWithContract(build_py):
    """Puts the contract into `usher`; an editable installation keeps to the checkout."""

    def run(self) -> None:
        """Build as setuptools does, then replace usher and its imports."""
        super().run()
        if self.editable_mode:
            return
        built = Path(self.build_lib)
        shutil.rmtree(built / "chalicelib")
        copy_package(built / "usher")
        point_to_copy(built / "session_handler")


setup(cmdclass={"build_py": BuildWithContract})
