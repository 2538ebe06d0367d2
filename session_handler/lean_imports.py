"""Keeps a module unloaded until something really uses it.

`websockets` imports `importlib.metadata` to learn the version of unreleased copies of itself.
Released ones never touch it, yet it takes a fifth of the time to listening, and 2 MiB.

`importlib.util.LazyLoader` gains nothing here: its modules are loaded by the first attribute that
is asked for, and the import statement itself asks a module that is there already for `__spec__`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _OnDemand(ModuleType):
    """Stands in for a module until the first attribute of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system looking around
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def load_on_demand(name: str) -> None:
    """Let the submodule `name` be imported for nothing. Does nothing when it is loaded."""
    if name in sys.modules:
        return
    stand_in = _OnDemand(name)
    sys.modules[name] = stand_in
    parent, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(parent), attribute, stand_in)
