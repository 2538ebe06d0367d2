"""The copy of usher that images of jobs get."""

import os
import subprocess
import sys

from local.hosts.own_package import own_package


def test_it_is_made_once_and_compiled():
    folder = own_package()
    assert own_package() == folder
    assert list((folder / "usher" / "__pycache__").glob("entry.*.pyc"))
    assert {path.name for path in folder.iterdir()} == {"usher", "chalicelib"}


def test_the_project_may_have_a_chalicelib_of_its_own(tmp_path):
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "chalicelib" / "__init__.py").write_text("OWN = True")
    program = (
        "import sys, chalicelib; import usher.entry, usher.child, usher.job, usher.client;"
        "assert chalicelib.OWN; assert 'usher.contract.jobs' in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(own_package())},
        check=True,
    )
