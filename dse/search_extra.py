"""Whether the packages that search and weigh parameters are here: they are an extra."""

from importlib.util import find_spec

from dse.config import ConfigError

__all__ = ["need_search"]


def need_search(what: str, *packages: str) -> None:
    """Raise ConfigError that says what to install, where one of the packages is missing."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"{what} needs {', '.join(missing)}: pip install 'nmdse[search]'")
