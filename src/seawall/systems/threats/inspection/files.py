"""Uploaded files: which of them have text to look into."""

__all__ = ["is_binary", "is_worth_reading"]

_PROBE = 512
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\x0b\x0c\r\x1b"))
_FEW = 20
"""One control character in so many is more than any text has."""
_PDF = b"%PDF-"


def is_binary(content: bytes) -> bool:
    """Tell by its beginning whether a file is no text."""
    probe = content[:_PROBE]
    controls = len(probe) - len(probe.translate(None, _CONTROLS))
    return controls * _FEW > len(probe) or b"\x00" in probe or probe.startswith(_PDF)


def is_worth_reading(content: bytes) -> bool:
    """Tell whether a file has text, or a script that may come behind an image's first bytes."""
    return not is_binary(content) or b"<?" in content or b"<%" in content
