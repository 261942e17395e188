"""Threat detection's metrics, declared once; samples are made at a scrape."""

from collections.abc import Iterator, Sequence

from seawall.core.instruments import InstrumentRegistry, Sample
from seawall.systems.threats.book import ThreatBook
from seawall.systems.threats.clients import ClientWatch
from seawall.systems.threats.floods import Flood
from seawall.systems.threats.recorder import Recorder
from seawall.systems.threats.records import BanRecord, ListRecord
from seawall.systems.threats.sources import EVERYWHERE
from seawall.systems.threats.tally import Tally

__all__ = ["INSTRUMENTS", "samples_of"]

_registry = InstrumentRegistry()

INSPECTED = _registry.counter("threat_detection_inspected_total", "Requests looked into.")
PARTIAL = _registry.counter("threat_detection_partial_total", "Requests that could not be looked into wholly.")
ACTIONS = _registry.counter("threat_detection_actions_total", "Requests by what was done to them.", ("action",))
SHADOWED = _registry.counter(
    "threat_detection_shadowed_total", "Requests by what would have been done, where a mode only logs.", ("action",)
)
FINDINGS = _registry.counter("threat_detection_findings_total", "Findings by class.", ("class",))
REFUSALS = _registry.counter(
    "threat_detection_refusals_total",
    "Refused requests by why: `listed`, `banned`, `challenged`, `csrf`, `flood`, `inspection`.",
    ("why",),
)
EVENTS = _registry.counter("threat_detection_events_total", "Events by level.", ("level",))
LOST = _registry.counter("threat_detection_events_lost_total", "Events that there was no room for.")
FEEDBACK = _registry.counter("threat_detection_feedback_total", "Events that operators judged.", ("verdict",))
BANS = _registry.gauge("threat_detection_bans", "Subjects that are refused or challenged now.", ("by",))
LISTED = _registry.gauge("threat_detection_listed", "Networks on lists, added at run time.", ("list",))
CLIENTS = _registry.gauge("threat_detection_clients", "Different clients within the last 30 to 60 s, within some 3 %.")
JUDGED = _registry.counter(
    "threat_detection_judged_clients_total", "Clients that were judged by one another.", ("odd",)
)
FLOODS = _registry.gauge("threat_detection_floods", "Routes under a flood now.")

INSTRUMENTS = tuple(_registry)


def samples_of(
    tally: Tally, book: ThreatBook, recorder: Recorder, floods: Sequence[Flood], watch: ClientWatch | None
) -> Iterator[Sample]:
    """Yield every series of a gateway."""
    inspected, partial, lost = tally.scalars
    yield Sample(INSPECTED, (), inspected)
    yield Sample(PARTIAL, (), partial)
    for instrument, family in ((ACTIONS, "action"), (SHADOWED, "shadow"), (FINDINGS, "class"), (REFUSALS, "refusal")):
        for name, count in tally.family(family).items():
            yield Sample(instrument, (name,), count)
    for level, count in tally.levels.items():
        yield Sample(EVENTS, (level,), count)
    yield Sample(LOST, (), lost + recorder.lost)
    for verdict, count in tally.judged.items():
        yield Sample(FEEDBACK, (verdict,), count)
    bans = book.records(BanRecord)
    operators = sum(one.by == "operator" for one in bans)
    yield Sample(BANS, ("operator",), operators)
    yield Sample(BANS, ("seawall",), len(bans) - operators)
    lists = book.records(ListRecord)
    allowed = sum(one.allowed for one in lists)
    yield Sample(LISTED, ("allow",), allowed)
    yield Sample(LISTED, ("block",), len(lists) - allowed)
    yield Sample(FLOODS, (), len(floods))
    yield Sample(CLIENTS, (), tally.clients.lately().get(EVERYWHERE, 0))
    if watch is not None:
        yield Sample(JUDGED, ("yes",), watch.odd)
        yield Sample(JUDGED, ("no",), watch.judged - watch.odd)
