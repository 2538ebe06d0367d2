"""Fixtures of this folder's tests."""

import pytest

from chalicelib.config import Config, load_config


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config({"STAGE": "test"})
