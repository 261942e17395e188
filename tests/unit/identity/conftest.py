"""Fixtures of this folder."""

from identity_desk import desks

__all__ = ["desks"]
