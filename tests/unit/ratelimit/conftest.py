"""Fixtures of this folder."""

from ratelimit_sites import limit_sites

__all__ = ["limit_sites"]
