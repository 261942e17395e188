"""Who may never be refused, who always is, and who is for a while."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from seawall.systems.threats.messages import Ban, ListEntry
from seawall.systems.threats.networks import NOT_FOUND, NetworkTable, PackedNetworks, pack, subject_of_address

__all__ = ["AccessLists", "Standing"]

_MAX_LOCAL = 10_000


class Standing(msgspec.Struct, frozen=True):
    """What lists and bans say of a caller.

    Attributes:
        kind: `allowed`, `listed`, `banned` or `challenged`.
        until: seconds since the Unix epoch; infinite for good.
        subject: of the ban.
    """

    kind: str
    until: float
    reason: str
    subject: str


class AccessLists:
    """Allow-list, block-list and bans, in this order: what is allowed is asked no further.

    A look-up costs 1 to 3 us however long the lists are, next to nothing while they are empty. Pure; not for concurrent
    use.
    """

    def __init__(self) -> None:
        self._allow = self._block = NetworkTable(PackedNetworks())
        self._entries: Sequence[ListEntry] = ()
        self._bans: dict[str, Ban] = {}
        self._networks = NetworkTable(PackedNetworks())
        self._banned_networks: tuple[str, ...] = ()
        self._local: dict[str, Ban] = {}
        self._packed: tuple[PackedNetworks, PackedNetworks] = (PackedNetworks(), PackedNetworks())
        self.active = False
        """Whether there is anything to look up."""
        self.accounts = False
        """Whether any account may be banned or challenged."""

    def apply(
        self, allow: PackedNetworks, block: PackedNetworks, entries: Sequence[ListEntry], bans: Mapping[str, Ban]
    ) -> None:
        """Take newer lists; bans of this guard's own stay."""
        if (allow, block) != self._packed:
            self._allow, self._block = NetworkTable(allow), NetworkTable(block)
            self._packed = (allow, block)
        self._entries = entries
        self._bans = dict(bans)
        # A /64 that stands for one client is looked up by its name: there may be thousands of them.
        self._banned_networks = tuple(one for one in self._bans if one.startswith("network:") and not _is_client(one))
        self._networks = _table(one.removeprefix("network:") for one in self._banned_networks)
        self.accounts = any(one.startswith("account:") for known in (self._bans, self._local) for one in known)
        self._note()

    def ban(self, subject: str, ban: Ban) -> None:
        """Ban a subject here and now, until the controller says more; a longer ban stays."""
        known = self._local.pop(subject, None)
        self._local[subject] = known if known is not None and known.until > ban.until else ban
        if len(self._local) > _MAX_LOCAL:
            del self._local[next(iter(self._local))]
        self.accounts = self.accounts or subject.startswith("account:")
        self._note()

    def forget(self, subjects: Iterable[str]) -> None:
        """Lift bans of this guard's own."""
        for subject in subjects:
            self._local.pop(subject, None)
        self._note()

    def find(self, client: str, account: str, wall: float) -> Standing | None:
        """Return what is said of a caller; None where nothing is.

        Args:
            client: address.
            account: name of the authenticated user; empty for none.
            wall: seconds since the Unix epoch.
        """
        allowed = self._entry(self._allow, client, wall)
        if allowed is not None:
            return Standing("allowed", allowed.until, allowed.reason, f"client:{client}")
        listed = self._entry(self._block, client, wall)
        if listed is not None:
            return Standing("listed", listed.until, listed.reason, f"client:{client}")
        return self._ban(client, account, wall)

    def find_account(self, account: str, wall: float) -> Standing | None:
        """Return what bans say of an account; None where they say nothing."""
        return self._first([f"account:{account}"], wall)

    def _ban(self, client: str, account: str, wall: float) -> Standing | None:
        subjects = [subject_of_address(client)]
        if subjects[0] != f"client:{client}":
            subjects.append(f"client:{client}")
        if account:
            subjects.append(f"account:{account}")
        if self._banned_networks:
            at = self._networks.find(client)
            if at != NOT_FOUND:
                subjects.append(self._banned_networks[at])
        return self._first(subjects, wall)

    def _first(self, subjects: Sequence[str], wall: float) -> Standing | None:
        """Return the first ban of these subjects; without one, the first challenge."""
        found: Standing | None = None
        for subject in subjects:
            for bans in (self._bans, self._local):
                ban = bans.get(subject)
                if ban is None or wall >= ban.until:
                    continue
                if not ban.challenge:
                    return Standing("banned", ban.until, ban.reason, subject)
                found = found or Standing("challenged", ban.until, ban.reason, subject)
        return found

    def _entry(self, table: NetworkTable, client: str, wall: float) -> ListEntry | None:
        if not table:
            return None
        at = table.find(client)
        if at == NOT_FOUND:
            return None
        entry = self._entries[at] if at < len(self._entries) else ListEntry()
        return entry if wall < entry.until else None

    def _note(self) -> None:
        self.active = bool(self._allow or self._block or self._bans or self._local)


def _is_client(subject: str) -> bool:
    return subject.endswith("/64") and subject_of_address(subject.removeprefix("network:")[:-3]) == subject


def _table(networks: Iterable[str]) -> NetworkTable:
    return NetworkTable(pack((network, number) for number, network in enumerate(networks)))
