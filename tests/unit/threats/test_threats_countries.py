"""Countries in events and statistics, where a database tells them."""

import pytest
from threat_sites import W0, seen, told

from mmdb import write_database
from seawall.core.errors import ConfigurationError
from seawall.systems.threats.messages import LoginFailures
from seawall.systems.threats.settings import ThreatDetectionSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(tmp_path):
    networks = {"192.0.2.0/24": {"country": ({"iso_code": ("DE",)},)}, "198.51.100.0/24": {}}
    return str(write_database(tmp_path / "countries.mmdb", networks, 4))


async def test_events_of_guards_and_of_the_controller_tell_their_country(threat_sites, database):
    site = await threat_sites({"events": {"geoip_database": database}, "logins": {"paths": ["/login"]}})
    site.controller.on_report(W0, told(seen("192.0.2.7"), seen("192.0.2.8"), seen("203.0.113.1"), seen("")))
    assert [event.country for event in await site.events()] == ["DE", "DE", "", ""]
    assert site.controller.status().countries == {"DE": 2}
    site.controller.on_report(W0, told(failures=(LoginFailures("192.0.2.9", "alice", 9),)))
    (event,) = await site.events(client="192.0.2.9")
    assert event.country == "DE"


async def test_without_a_database_no_country_is_told_and_one_can_be_given_later(threat_sites, database):
    site = await threat_sites()
    site.controller.on_report(W0, told(seen("192.0.2.7")))
    table = {"events": {"geoip_database": database}}
    await site.controller.reconfigure(ThreatDetectionSettings.model_validate(table))
    site.controller.on_report(W0, told(seen("192.0.2.7")))
    assert [event.country for event in await site.events()] == ["", "DE"]


async def test_a_database_that_cannot_be_read_is_refused_at_start_and_at_a_reload(threat_sites, database):
    table = {"events": {"geoip_database": f"{database}.absent"}}
    with pytest.raises(ConfigurationError, match="absent"):
        await threat_sites(table)
    site = await threat_sites({"events": {"geoip_database": database}})
    with pytest.raises(ConfigurationError, match="absent"):
        await site.controller.reconfigure(ThreatDetectionSettings.model_validate(table))
    site.controller.on_report(W0, told(seen("192.0.2.7")))
    assert (await site.events())[0].country == "DE"
