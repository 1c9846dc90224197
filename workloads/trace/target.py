"""What to trace, from the command line: a zoo name, ``package.module:callable`` or ``path/to/file.py:callable``."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from workloads.formats.trace_file import TraceError

__all__ = ["require_torch", "resolve_target"]


def require_torch() -> None:
    """Raise TraceError that says what to install where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise TraceError("Tracing needs PyTorch: install nmdse[torch]")


def resolve_target(text: str) -> tuple[str, Callable[..., Any]]:
    """The name and the builder that a text means. Raises TraceError that names what is missing or wrong."""
    require_torch()
    place, colon, attribute = text.rpartition(":")
    if not colon:
        return text, _zoo_builder(text)
    if not place or not attribute:
        raise TraceError(f"Model {text!r} must be written module:callable, file.py:callable or as a zoo name")
    found: Any = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TraceError(f"Model {text!r}: {place!r} must have an attribute {attribute!r}")
        found = getattr(found, part)
    if not callable(found):
        raise TraceError(f"Model {text!r} must be callable, not {type(found).__name__}")
    return attribute.rpartition(".")[2], found


def _zoo_builder(name: str) -> Callable[..., Any]:
    try:
        from workloads.zoo.definitions import BUILDERS
    except ImportError as error:
        raise TraceError(f"Zoo models need PyTorch and transformers: install nmdse[torch] ({error})") from None
    if name not in BUILDERS:
        raise TraceError(
            f"Model {name!r} must be a zoo model ({', '.join(sorted(BUILDERS))}), module:callable or file.py:callable"
        )
    return BUILDERS[name]


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TraceError(f"Model file {str(path)!r} must be an existing file")
    name = f"nmdse_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up
    sys.path.insert(0, folder)  # as `python file.py` would: files beside it can be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TraceError(f"Model file {str(path)!r} failed when run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise TraceError(f"Model module {name!r} must be importable: there is no {error.name!r}") from None
        raise TraceError(f"Model module {name!r} failed when imported: {error}") from error
    except Exception as error:
        raise TraceError(f"Model module {name!r} failed when imported: {type(error).__name__}: {error}") from error
