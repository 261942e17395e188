"""Places on the globe: parsing and distance."""

import math

__all__ = ["Location", "great_circle_km", "parse_location"]

Location = tuple[float, float]
"""(latitude, longitude) in degrees, north and east positive."""

_EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""
_MAX_TEXT = 64


def great_circle_km(here: Location, there: Location) -> float:
    """Return the distance over the globe in kilometres by the haversine formula (within 0.5 % of the ellipsoid's)."""
    latitude, longitude = math.radians(here[0]), math.radians(here[1])
    other_latitude, other_longitude = math.radians(there[0]), math.radians(there[1])
    half_chord = (
        math.sin((other_latitude - latitude) / 2.0) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2.0) ** 2
    )
    return 2.0 * _EARTH_RADIUS_KM * math.asin(math.sqrt(min(half_chord, 1.0)))


def parse_location(text: bytes) -> Location | None:
    """Return the place that `latitude,longitude` in degrees names; None for anything else or off the globe."""
    if len(text) > _MAX_TEXT:
        return None
    first, separator, second = text.partition(b",")
    if not separator:
        return None
    try:
        latitude, longitude = float(first), float(second)
    except ValueError:
        return None
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        return None
    return latitude, longitude
