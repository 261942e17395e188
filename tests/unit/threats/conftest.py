"""Fixtures of this folder."""

from threat_sites import threat_sites

__all__ = ["threat_sites"]
