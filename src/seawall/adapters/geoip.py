"""Client address to place and country by a MaxMind database, such as GeoLite2-City or GeoIP2-Country."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from seawall.core.errors import ConfigurationError

__all__ = ["open_countries", "open_locations"]


def open_locations(path: str) -> Callable[[str], tuple[float, float] | None]:
    """Open a database and return a lookup from address to (latitude, longitude) in degrees.

    The lookup gives None for what is no IP address, is not in the database, or has no location there. The file is
    memory-mapped; a lookup costs some 10 us and reads no file, so that the engine may call it. A file that is replaced
    is read after a restart of the worker.

    Args:
        path: a `.mmdb` file.

    Raises:
        ConfigurationError: the `maxminddb` package is missing, or the file cannot be read as a database.
    """
    find = _open(path)

    def locate(address: str) -> tuple[float, float] | None:
        location = find(address).get("location")
        if not isinstance(location, dict):
            return None
        latitude, longitude = location.get("latitude"), location.get("longitude")
        if isinstance(latitude, int | float) and isinstance(longitude, int | float):
            return float(latitude), float(longitude)
        return None

    return locate


def open_countries(path: str) -> Callable[[str], str]:
    """Open a database and return a lookup from address to country: two letters of ISO 3166, empty where not known.

    Where the address itself belongs to no country, that of its registration counts. Lookups are remembered; what the
    database says is read again after it was opened again. Raises as `open_locations`.
    """
    find = _open(path)

    @lru_cache(maxsize=4096)
    def country(address: str) -> str:
        record = find(address)
        for part in ("country", "registered_country"):
            found = record.get(part)
            code = found.get("iso_code") if isinstance(found, dict) else None
            if isinstance(code, str) and len(code) == 2 and code.isalpha():
                return code.upper()
        return ""

    return country


def _open(path: str) -> Callable[[str], dict[str, Any]]:
    try:
        import maxminddb  # noqa: PLC0415 - optional, needed only with a database
    except ImportError as error:
        raise ConfigurationError(
            f"the location database {path} needs the package maxminddb", hint="pip install 'seawall[geoip]'"
        ) from error
    try:
        reader = maxminddb.open_database(Path(path))
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise ConfigurationError(
            f"cannot open the location database {path}: {error}",
            hint="geoip_database must be the path of a readable .mmdb file, such as GeoLite2-City.mmdb",
        ) from error
    newest = reader.metadata().ip_version

    def find(address: str) -> dict[str, Any]:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return {}
        if parsed.version > newest:
            return {}
        record = reader.get(parsed)
        return record if isinstance(record, dict) else {}

    return find
