"""Whether the packages of an extra are here."""

from collections.abc import Mapping
from importlib.util import find_spec

from dse.config import ConfigError

__all__ = ["need_packages"]


def need_packages(what: str, extra: str, packages: Mapping[str, str]) -> None:
    """Raise ConfigError that says what to install, where something is missing. `packages`: their names, by module.

    They are looked for and not imported: some take long, and importing pyosys changes how shared libraries are loaded here.
    """
    if missing := [package for module, package in packages.items() if find_spec(module) is None]:
        raise ConfigError(f"{what} needs {', '.join(missing)}: pip install 'nmdse[{extra}]'")
