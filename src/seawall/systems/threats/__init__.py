"""Threat detection: what is in a request that no honest client would send, and who keeps sending it."""
