"""TOML into the frozen dataclasses: unknown keys, wrong types and broken rules are errors that name field, rule and value."""

import difflib
import re
import tomllib
from collections.abc import Mapping as Dict
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from simulator.arch import Accelerator, Dataflow
from simulator.presets import PRESETS
from simulator.strict import exactly

__all__ = ["ConfigError", "accelerator_from", "changed", "nested", "parse_value", "read_toml", "structure"]

T = TypeVar("T")


class ConfigError(ValueError):
    """Something that the user wrote can't be used; the message says what and why."""


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, exactly(int, "an integer"))
    converter.register_structure_hook(bool, exactly(bool, "true or false"))
    converter.register_structure_hook(str, exactly(str, "a text"))
    converter.register_structure_hook_func(
        lambda kind: get_origin(kind) is tuple and get_args(kind)[:1] == (Dataflow,), _dataflows
    )
    return converter


def _dataflows(value: Any, _: Any) -> tuple[Dataflow, ...]:
    items = [value] if isinstance(value, str) else value
    known = [item.value for item in Dataflow]
    if not isinstance(items, list | tuple) or not all(item in known for item in items):
        raise ValueError(f"must be a list of {', '.join(known)}, not {value!r}")
    return tuple(Dataflow(item) for item in items)


_CONVERTER = _converter()


def structure(data: Dict[str, Any], kind: type[T], thing: str) -> T:
    """The dataclass from nested data. Raises ConfigError that names the field by its dotted path."""
    try:
        return _CONVERTER.structure(data, kind)
    except (ClassValidationError, IterableValidationError) as error:
        raise ConfigError("; ".join(_messages(error, thing, ""))) from None
    except ValueError as error:
        raise ConfigError(f"{thing}: {error}") from None


def _messages(error: BaseException, thing: str, path: str) -> list[str]:
    if isinstance(error, ClassValidationError | IterableValidationError):
        found: list[str] = []
        for inner in error.exceptions:
            notes = [note for note in getattr(inner, "__notes__", ()) if hasattr(note, "name")]
            step = f"{path}.{notes[0].name}" if notes and path else (notes[0].name if notes else path)
            found += _messages(inner, thing, step)
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        known = [str(name) for name in getattr(error.cl, "__dataclass_fields__", ())]
        return [
            f"{thing} has no field {f'{path}.{extra}' if path else extra!r}{_suggest(extra, known)}"
            for extra in sorted(error.extra_fields)
        ]
    if isinstance(error, KeyError):
        return [f"{thing} field {f'{path}.' if path else ''}{error.args[0]} must be given"]
    if isinstance(error, TypeError):
        return [f"{thing} field {path!r} must be a table of fields, not a single value"]
    text = str(error)
    if text.startswith(thing):
        return [text]
    return [f"{thing}: {text}" if "field" in text else f"{thing} field {path!r} {text}"]


def _suggest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it must be one of: {', '.join(known)}"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises ConfigError where it can't be read, is not TOML, or gives a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"File {str(path)!r} must exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"File {str(path)!r} must be readable text ({error})") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = f": {text.splitlines()[int(place[1]) - 1].strip()!r}" if place else ""
        raise ConfigError(f"File {str(path)!r} must be valid TOML with each key once: {error}{line}") from None


def parse_value(text: str) -> Any:
    """A value as TOML reads it; a bare word is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def nested(flat: Dict[str, Any]) -> dict[str, Any]:
    """``{"pe.group": 8}`` as ``{"pe": {"group": 8}}``; keys may also be nested already."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        if isinstance(value, Dict) and isinstance(node.get(leaf), dict):
            _merge(node[leaf], value)
        else:
            node[leaf] = nested(value) if isinstance(value, Dict) else value
    return tree


def _merge(into: dict[str, Any], changes: Dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def accelerator_from(source: str, changes: Dict[str, Any]) -> Accelerator:
    """A preset's name or a TOML file (with ``base = "preset"`` and the fields that differ), then changes by dotted path."""
    if source in PRESETS:
        base, own = PRESETS[source].accelerator, dict[str, Any]()
    elif Path(source).suffix == ".toml":
        own = read_toml(Path(source))
        name = own.pop("base", None)
        if name not in PRESETS:
            raise ConfigError(f"File {source!r} field 'base' must be one of {', '.join(PRESETS)}, not {name!r}")
        base = PRESETS[name].accelerator
        own.setdefault("name", Path(source).stem)
    else:
        raise ConfigError(f"Accelerator {source!r} must be a .toml file or one of: {', '.join(PRESETS)}")
    return changed(changed(base, own), changes)


def changed(base: Accelerator, changes: Dict[str, Any]) -> Accelerator:
    """A machine with other fields, by dotted path or nested. Raises ConfigError that names field, rule and value."""
    if not changes:
        return base
    data = _CONVERTER.unstructure(base)
    _merge(data, nested(changes))
    return structure(data, Accelerator, f"Accelerator {data['name']!r}")
