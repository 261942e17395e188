"""Client address to place by a MaxMind database (GeoLite2-City, GeoIP2-City and others that hold `location`)."""

import ipaddress
from collections.abc import Callable
from pathlib import Path

from seawall.core.errors import ConfigurationError

__all__ = ["open_locations"]


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

    def locate(address: str) -> tuple[float, float] | None:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return None
        if parsed.version > reader.metadata().ip_version and parsed.version == 6:
            return None
        record = reader.get(parsed)
        location = record.get("location") if isinstance(record, dict) else None
        if not isinstance(location, dict):
            return None
        latitude, longitude = location.get("latitude"), location.get("longitude")
        if isinstance(latitude, int | float) and isinstance(longitude, int | float):
            return float(latitude), float(longitude)
        return None

    return locate
