"""What is kept about threats in the state store, as JSON under `threats/book/`."""

from hashlib import blake2b

import msgspec

from seawall.core.errors import InvalidError
from seawall.systems.threats.inspection.policy import Exclusion
from seawall.systems.threats.model import Mode
from seawall.systems.threats.networks import parse_network

__all__ = [
    "PREFIX",
    "AnyRecord",
    "BanRecord",
    "ExclusionsRecord",
    "ListRecord",
    "ModesRecord",
    "OffencesRecord",
    "Record",
    "place_of",
    "read_record",
]

PREFIX = "threats/book/"


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all records have.

    Attributes:
        name: the subject or network that it is about; empty where there is only one of its kind.
        until: seconds since the Unix epoch, None for good; the store itself keeps the time.
    """

    name: str = ""
    until: float | None = None


class BanRecord(Record, frozen=True, kw_only=True, tag="ban"):
    """A subject that is refused, or challenged.

    Attributes:
        by: `operator`, or what led to it by itself.
        bans: of this subject so far, this one included.
    """

    reason: str = ""
    challenge: bool = False
    by: str = "operator"
    bans: int = 0


class OffencesRecord(Record, frozen=True, kw_only=True, tag="offences"):
    """How often a subject was banned, remembered longer than its ban so that the next one lasts longer."""

    bans: int


class ListRecord(Record, frozen=True, kw_only=True, tag="list"):
    """A network that an operator allowed or blocked."""

    allowed: bool
    reason: str = ""


class ModesRecord(Record, frozen=True, kw_only=True, tag="modes"):
    """Modes that an operator set at run time: of everything (None: as configured), of paths, of rules."""

    mode: Mode | None = None
    routes: dict[str, Mode] = msgspec.field(default_factory=dict)
    rules: dict[str, Mode] = msgspec.field(default_factory=dict)


class ExclusionsRecord(Record, frozen=True, kw_only=True, tag="exclusions"):
    """Exclusions that an operator added at run time."""

    exclusions: tuple[Exclusion, ...] = ()


AnyRecord = BanRecord | OffencesRecord | ListRecord | ModesRecord | ExclusionsRecord

_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def place_of(record: type[Record], name: str) -> str:
    """Return the key of a record; names may be long and of any script, keys may not."""
    kind = record.__struct_config__.tag
    if not name:
        return f"{PREFIX}{kind}"
    return f"{PREFIX}{kind}/{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def read_record(value: bytes) -> AnyRecord:
    """Return a record as it was written; raise `msgspec.DecodeError` for anything else."""
    record = _decoder.decode(value)
    network = record.name if isinstance(record, ListRecord) else record.name.partition("network:")[2]
    if network:
        try:
            parse_network(network)
        except InvalidError as error:
            raise msgspec.DecodeError(error.message) from error
    return record
