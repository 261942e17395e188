"""The detectors that are at work."""

from seawall.systems.threats.detector import Detector
from seawall.systems.threats.detectors import (
    code,
    command,
    graphql,
    header,
    ldap,
    lookup,
    nosql,
    protocol,
    prototype,
    scanner,
    sqli,
    ssrf,
    template,
    traversal,
    webshell,
    xpath,
    xss,
    xxe,
)

__all__ = ["DETECTORS"]

_MODULES = (
    code,
    command,
    graphql,
    header,
    ldap,
    lookup,
    nosql,
    protocol,
    prototype,
    scanner,
    sqli,
    ssrf,
    template,
    traversal,
    webshell,
    xpath,
    xss,
    xxe,
)

DETECTORS: tuple[Detector, ...] = tuple(module.DETECTOR for module in _MODULES)
"""In order of name, so that the set compiles to the same patterns everywhere."""
