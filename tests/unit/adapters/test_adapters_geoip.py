"""The location lookup over a real MaxMind DB file."""

import sys

import pytest

from mmdb import place, write_database
from seawall.adapters.geoip import open_countries, open_locations
from seawall.core.errors import ConfigurationError


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def database(request, tmp_path):
    networks = {
        "192.0.2.0/24": place(52.5, 13.4),
        "198.51.100.0/25": {"location": ({"latitude": (1.0, "double")},)},
        "203.0.113.7/32": {"country": ("DE",)},
    }
    if request.param == 6:
        networks["2001:db8::/32"] = place(35.7, 139.7)
    return request.param, write_database(tmp_path / "city.mmdb", networks, request.param)


def test_addresses_are_placed(database):
    version, path = database
    locate = open_locations(path)
    assert locate("192.0.2.77") == (52.5, 13.4)
    assert locate("2001:db8::1") == ((35.7, 139.7) if version == 6 else None)


@pytest.mark.parametrize(
    "address", ["192.0.3.1", "198.51.100.1", "203.0.113.7", "", "localhost", "192.0.2.77:80", "::1"]
)
def test_what_has_no_place(database, address):
    assert open_locations(database[1])(address) is None


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="absent") as refusal:
        open_locations(str(tmp_path / "absent.mmdb"))
    assert "geoip_database" in refusal.value.hint


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "text.mmdb"
    path.write_text("hello")
    with pytest.raises(ConfigurationError, match="text"):
        open_locations(str(path))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ConfigurationError, match="maxminddb") as refusal:
        open_locations(str(tmp_path / "city.mmdb"))
    assert "seawall[geoip]" in refusal.value.hint


def test_countries_are_told_by_place_or_else_by_registration(tmp_path):
    networks = {
        "192.0.2.0/24": {"country": ({"iso_code": ("de",)},), "registered_country": ({"iso_code": ("FR",)},)},
        "198.51.100.0/24": {"registered_country": ({"iso_code": ("FR",)},)},
        "203.0.113.0/24": {"country": ({"iso_code": ("Germany",)},)},
        "203.0.114.0/24": place(52.5, 13.4),
    }
    country = open_countries(str(write_database(tmp_path / "countries.mmdb", networks, 4)))
    asked = ["192.0.2.7", "198.51.100.7", "203.0.113.7", "203.0.114.7", "192.0.3.1", "2001:db8::1", "", "unix"]
    assert [country(one) for one in asked] == ["DE", "FR", "", "", "", "", "", ""]
    with pytest.raises(ConfigurationError, match="absent"):
        open_countries(str(tmp_path / "absent.mmdb"))
