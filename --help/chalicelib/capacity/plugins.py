"""The stage's placement plug-ins: a module deployed beside chalicelib, with `PLUGINS` by name."""

import difflib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from chalicelib.errors import ConfigurationError

if TYPE_CHECKING:
    from chalicelib.capacity.placement import Plugin


def load_plugins(module: str | None) -> "Mapping[str, Plugin]":
    """`PLUGINS` of the module; empty without a module. Raises ConfigurationError."""
    if module is None:
        return {}
    from chalicelib.capacity.placement import Plugin

    try:
        found = importlib.import_module(module).PLUGINS
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"PLACEMENT_MODULE: {module} has no PLUGINS: {error}") from error
    if not isinstance(found, Mapping) or not all(isinstance(p, Plugin) for p in found.values()):
        raise ConfigurationError(f"PLACEMENT_MODULE: {module}.PLUGINS maps names to Plugin")
    return found


def problem_of(plugins: "Mapping[str, Plugin]", name: str | None) -> str | None:
    """The error message for a plug-in of this name; None if it exists or no name is given."""
    if name is None or name in plugins:
        return None
    near = difflib.get_close_matches(name, plugins, n=1)
    known = f"there are {', '.join(sorted(plugins))}" if plugins else "PLACEMENT_MODULE has none"
    hint = f"did you mean {near[0]}?" if near else known
    return f"placement.plugin: no placement plug-in is called {name!r}: {hint}"


def check_plugins(plugins: "Mapping[str, Plugin]", named: Mapping[str, str | None]) -> None:
    """Check the plug-ins that apps and jobs name. Raises ConfigurationError with all problems."""
    problems = [
        f"{where}.{problem}"
        for where, name in named.items()
        if (problem := problem_of(plugins, name)) is not None
    ]
    if problems:
        raise ConfigurationError("; ".join(problems))
