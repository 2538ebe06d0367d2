"""The copy of the project for Chalice's packaging."""

import pytest

from infra.deploy import functions


def test_an_option_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for option in ("--help", "--unknown"):
        with pytest.raises(SystemExit):
            functions.main([option])
    assert list(tmp_path.iterdir()) == []
