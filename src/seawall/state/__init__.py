"""Shared truth behind one small Protocol; backends are chosen by URL."""

from seawall.state.open import open_store
from seawall.state.script import Script
from seawall.state.store import Change, Entry, StateStore

__all__ = ["Change", "Entry", "Script", "StateStore", "open_store"]
