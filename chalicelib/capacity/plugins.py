"""The stage's own placement: a module deployed beside chalicelib, with `PLUGINS` by name."""

import importlib
from collections.abc import Mapping

from chalicelib.capacity.placement import Plugin
from chalicelib.errors import ConfigurationError


def load_plugins(module: str | None) -> Mapping[str, Plugin]:
    """`PLUGINS` of the module; none without a module. Raises ConfigurationError."""
    if module is None:
        return {}
    try:
        found = importlib.import_module(module).PLUGINS
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"PLACEMENT_MODULE: {module} has no PLUGINS: {error}") from error
    if not isinstance(found, Mapping) or not all(isinstance(p, Plugin) for p in found.values()):
        raise ConfigurationError(f"PLACEMENT_MODULE: {module}.PLUGINS maps names to Plugin")
    return found
