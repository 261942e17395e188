"""Fixtures of this folder."""

from balancing_sites import sites

__all__ = ["sites"]
