"""Makes transformers know this project's models: at once where it is imported already, else when it is.

Light: importing this imports neither transformers nor torch. transformers has no entry point by which a package could
announce its models, so the modules that hold its tables are watched: once one has been executed, the module here that
adds itself to that table is imported.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

WATCHED = {
    "transformers.models.auto.configuration_auto": "audio_tokens.engine.systems.tagging.auto_config",
    "transformers.models.auto.modeling_auto": "audio_tokens.engine.systems.tagging.auto_classes",
}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the watched modules as everyone else does, and adds what follows their execution."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in WATCHED else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_add(module: ModuleType) -> None:
            execute(module)
            _add(WATCHED[name])

        spec.loader.exec_module = execute_and_add  # type: ignore[method-assign]
        return spec


def watch() -> None:
    """Add the models where transformers' tables are loaded already, and see to it that they are added where not."""
    sys.meta_path.insert(0, _Finder())
    for table, ours in WATCHED.items():
        if table in sys.modules:
            _add(ours)


def _add(module: str) -> None:
    """Import a module that adds itself, unless its own import is what brought us here."""
    if module not in sys.modules:
        importlib.import_module(module)
