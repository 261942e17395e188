"""Many patterns matched at once, by Hyperscan, RE2 or `re`: the first of them that this machine can run."""

import hashlib
import logging
import os
import re
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from importlib import import_module, metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

from seawall.core.errors import ConfigurationError
from seawall.systems.threats.inspection.prefilter import Matcher

__all__ = ["BACKENDS", "HyperscanMatcher", "Re2Matcher", "ReMatcher", "cache_folder", "compile_patterns"]

BACKENDS = ("hyperscan", "re2", "re")
"""In order of preference."""

_log = logging.getLogger("seawall.threats")

_PROBE = """
import hyperscan
database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
database.compile(expressions=[b"seawall [0-9]+"], ids=[7], flags=hyperscan.HS_FLAG_CASELESS)
found = []
database.scan(b"a Seawall 42", lambda number, *_: found.append(number))
raise SystemExit(0 if 7 in found else 1)
"""
_PROBE_SECONDS = 20.0
_FORMAT = b"6"
_KEPT = 8
_LONG = 1000
_SMALL_BOUND = 16
_MAX_MATCHES = 512

_BOUND = re.compile(rb"(?<!\\)\{(\d*),(\d+)\}")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([89a-fA-F][0-9a-fA-F])|.)", re.DOTALL)
_WIDE = re.compile(rb"[\x80-\xff]|\\x\{")
# An atom of a pattern and how often it comes.
_ATOM = re.compile(
    rb"(?P<atom>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\.)(?P<often>[*+?]|\{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\})?",
    re.DOTALL,
)
_TAKES_WIDE = re.compile(rb"\[\^|\\[WSD]|\.\Z")
_BYTES = 4
_SURROGATES = {"d8", "d9", "da", "db", "dc", "dd", "de", "df"}

Groups = Sequence[Sequence[str]]


class HyperscanMatcher:
    """All groups in one automaton; about 1 us a call, and some microseconds per KiB.

    It tells every match, so that one scan says which of many texts are worth a second one. Past a number of matches it
    says that all may match, which bounds what a text that consists of matches costs.
    """

    backend = "hyperscan"

    def __init__(self, groups: Groups, cache: Path | None = None) -> None:
        hyperscan: Any = import_module("hyperscan")  # optional, and it may not run on this machine

        self._scan = _database(groups, hyperscan, cache).scan
        self._terminated: type[Exception] = hyperscan.ScanTerminated
        self._all = tuple(index for index, group in enumerate(groups) if group)
        found: list[int] = []
        ends: list[int] = []
        self._found, self._ends = found, ends

        def on_group(index: int, start: int, end: int, flags: int, context: object) -> bool:  # noqa: ARG001
            found.append(index)
            return len(found) > _MAX_MATCHES

        def on_match(index: int, start: int, end: int, flags: int, context: object) -> bool:  # noqa: ARG001
            ends.append(end)
            return len(ends) > _MAX_MATCHES

        self._on_group, self._on_match = on_group, on_match

    def match(self, text: str) -> Sequence[int]:
        """Return the groups that match; see `Matcher`."""
        if not self._all:
            return ()
        found = self._found
        found.clear()
        try:
            self._scan(text.encode("utf-8", "replace"), self._on_group)
        except self._terminated:
            return self._all
        return list(dict.fromkeys(found)) if found else ()

    def candidates(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the indexes of texts that may match; see `Matcher`."""
        if not self._all:
            return ()
        joined = "\n".join(texts)
        raw = joined.encode("utf-8", "replace")
        ends = self.ends(raw)
        if ends is None:
            return range(len(texts))
        if not ends:
            return ()
        plain = len(raw) == len(joined)
        lengths = (len(text) + 1 if plain else len(text.encode("utf-8", "replace")) + 1 for text in texts)
        borders = list(accumulate(lengths))
        last = len(texts) - 1
        # `end` is the index after the match, and a match may end with the border itself.
        return sorted({min(bisect_left(borders, end), last) for end in ends})

    def ends(self, raw: bytes) -> Sequence[int] | None:
        """Return the index after each match; see `Matcher`."""
        ends = self._ends
        ends.clear()
        if not self._all:
            return ends
        try:
            self._scan(raw, self._on_match)
        except self._terminated:
            return None
        if len(ends) > 1:
            ends.sort()
        return ends


class Re2Matcher:
    """Each group as one alternation, tried one after the other; linear in time."""

    backend = "re2"

    def __init__(self, groups: Groups) -> None:
        re2: Any = import_module("re2")  # optional, and without types

        options = re2.Options()
        options.case_sensitive = False
        options.never_nl = False
        options.dot_nl = True
        options.one_line = False
        options.log_errors = False
        self._searches = [
            (index, re2.compile("(?m)" + _portable(_alternation(group)), options).search)
            for index, group in enumerate(groups)
            if group
        ]

    def match(self, text: str) -> Sequence[int]:
        """Return the groups that match; see `Matcher`."""
        text = text.encode("utf-8", "replace").decode()
        return [index for index, search in self._searches if search(text) is not None]

    def candidates(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the indexes of texts that may match; see `Matcher`."""
        return [index for index, text in enumerate(texts) if self.match(text)]

    def ends(self, _raw: bytes) -> None:
        """Tell nothing: one search for each group would cost more than it saves."""
        return


class ReMatcher:
    """Each group as one alternation of the standard library; the slowest, and always there."""

    backend = "re"

    def __init__(self, groups: Groups) -> None:
        flags = re.IGNORECASE | re.DOTALL | re.MULTILINE | re.ASCII
        self._searches = [
            (index, re.compile(_alternation(group), flags).search) for index, group in enumerate(groups) if group
        ]

    def match(self, text: str) -> Sequence[int]:
        """Return the groups that match; see `Matcher`."""
        return [index for index, search in self._searches if search(text) is not None]

    def candidates(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the indexes of texts that may match; see `Matcher`."""
        return [index for index, text in enumerate(texts) if any(search(text) for _, search in self._searches)]

    def ends(self, _raw: bytes) -> None:
        """Tell nothing: one search for each group would cost more than it saves."""
        return


def compile_patterns(groups: Groups, *, backend: str = "", cache: Path | None = None) -> Matcher:
    """Make a matcher of groups of patterns with the best library that this machine can run.

    Hyperscan needs a processor that it was built for and ends the process on another; it is therefore tried in a
    process of its own, unless what it compiled here before is in the cache.

    Args:
        groups: patterns; a match names its group.
        backend: one of `BACKENDS` to take that one; empty for the first that works.
        cache: folder for what Hyperscan compiled; see `cache_folder`. None keeps nothing.

    Raises:
        ConfigurationError: the library that was asked for is not there, or refuses a pattern.
    """
    refusals: list[str] = []
    for name in (backend,) if backend else BACKENDS:
        try:
            if name == "hyperscan":
                if not (_is_cached(groups, cache) or _hyperscan_runs()):
                    refusals.append("hyperscan does not run on this machine")
                    continue
                return HyperscanMatcher(groups, cache)
            return Re2Matcher(groups) if name == "re2" else ReMatcher(groups)
        except Exception as error:  # noqa: BLE001 - each library has its own errors for what it does not take
            refusals.append(f"{name}: {type(error).__name__}: {error}")
            missing = isinstance(error, ImportError)
            _log.log(logging.INFO if missing else logging.WARNING, "patterns are not matched by %s: %s", name, error)
    raise ConfigurationError(
        "no library can match the patterns of threat detection: " + "; ".join(refusals),
        hint="install the extra: pip install 'seawall[threats]'",
    )


def cache_folder() -> Path | None:
    """Return the user's own folder for compiled patterns, made when missing; None when there is no safe one.

    A compiled database is code to the library that loads it, so a folder that others may write to is refused.
    """
    base = os.environ.get("XDG_CACHE_HOME") or ""
    folder = (Path(base) if base else Path.home() / ".cache") / "seawall"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError) as error:
        _log.info("compiled patterns are not cached: %s", error)
        return None
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        _log.warning("compiled patterns are not cached: %s can be written to by others", folder)
        return None
    return folder


def _portable(pattern: str) -> str:
    """Return a pattern of `re` as Hyperscan and RE2 write it: code points in braces, and none of surrogates."""
    return _ESCAPED.sub(_braced, pattern)


def _braced(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or ""
    if not digits:
        return match[0]
    return "\\x{fffd}" if len(digits) == 4 and digits[:2].lower() in _SURROGATES else f"\\x{{{digits}}}"


def _alternation(group: Sequence[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in group)


def _hyperscan_runs() -> bool:
    try:
        probe = subprocess.run(  # noqa: S603 - our own interpreter and a constant
            [sys.executable, "-I", "-c", _PROBE], capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.info("the probe of Hyperscan failed: %s", error)
        return False
    return probe.returncode == 0


def _database(groups: Groups, hyperscan: Any, cache: Path | None) -> Any:  # noqa: ANN401 - without types
    """Return a compiled database, from the cache where it is there."""
    path = _cache_path(groups, cache, metadata.version("hyperscan")) if cache else None
    database = _read(path, hyperscan) if path else None
    if database is None:
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        flat = [(_portable(pattern).encode(), index) for index, group in enumerate(groups) for pattern in group]
        if flat:
            _compile(database, flat, hyperscan)
            if path:
                _write(path, hyperscan.dumpb(database))
    return database


def _compile(database: Any, flat: Sequence[tuple[bytes, int]], hyperscan: Any) -> None:  # noqa: ANN401
    """Compile all patterns; one that is too large is replaced by one that matches more and is smaller."""
    usual = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE
    # Each repetition up to a bound is a copy of what is repeated: automata are small and soon compiled without them.
    patterns = [_loose(pattern, 0 if len(pattern) > _LONG else _SMALL_BOUND) for pattern, _ in flat]
    numbers = [number for _, number in flat]
    # Automata over bytes are smaller than those over characters, and a quarter faster.
    wide = [_WIDE.search(pattern) is not None for pattern, _ in flat]
    flags = [usual | hyperscan.HS_FLAG_UTF8 if each else usual for each in wide]
    patterns = [one if each else _ATOM.sub(_of_bytes, one) for one, each in zip(patterns, wide, strict=True)]
    try:
        database.compile(expressions=patterns, ids=numbers, flags=flags)
    except hyperscan.HyperscanError:
        for at, pattern in enumerate(patterns):
            loose = _loose(pattern, 0)
            smaller = ((pattern, 0), (loose, 0), (loose, hyperscan.HS_FLAG_PREFILTER))
            fitting = next((one for one in smaller if _compiles(one[0], flags[at] | one[1], hyperscan)), None)
            if fitting is None:
                raise ConfigurationError(
                    f"Hyperscan refuses the pattern {pattern.decode()!r}",
                    hint="it may hold no look-around and no back-reference",
                ) from None
            patterns[at] = fitting[0]
            flags[at] |= fitting[1]
        database.compile(expressions=patterns, ids=numbers, flags=flags)


def _loose(pattern: bytes, kept: int) -> bytes:
    """Return a pattern that matches the same and more: without the upper bounds that are larger than what is kept."""
    return _BOUND.sub(lambda match: match[0] if int(match[2]) <= kept else b"{%s,}" % (match[1] or b"0"), pattern)


def _of_bytes(match: re.Match[bytes]) -> bytes:
    """Return an atom that matches the bytes of whatever characters it matches: each of them may be up to four."""
    atom, often, most = match["atom"], match["often"] or b"", match["most"]
    if (atom[:1] == b"[" and atom[:2] != b"[^" and _TAKES_WIDE.search(atom, 1) is None) or atom[:1] not in b"[.\\":
        return match[0]
    if atom[:1] == b"\\" and atom[1:] not in (b"W", b"S", b"D"):
        return match[0]
    if not often:
        return b"%s{1,%d}" % (atom, _BYTES)
    if often == b"?":
        return b"%s{0,%d}" % (atom, _BYTES)
    if often in b"*+" or (match["comma"] and not most):
        return match[0]
    least = match["least"]
    return b"%s{%s,%d}" % (atom, least or b"0", int(most or least) * _BYTES)


def _compiles(pattern: bytes, flags: int, hyperscan: Any) -> bool:  # noqa: ANN401 - without types
    try:
        hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK).compile(expressions=[pattern], ids=[0], flags=[flags])
    except hyperscan.HyperscanError:
        return False
    return True


def _is_cached(groups: Groups, cache: Path | None) -> bool:
    if cache is None:
        return False
    try:
        version = metadata.version("hyperscan")  # without loading the library
    except metadata.PackageNotFoundError:
        return False
    return _cache_path(groups, cache, version).exists()


def _cache_path(groups: Groups, cache: Path, version: str) -> Path:
    digest = hashlib.sha256(_FORMAT + version.encode() + _processor())
    for group in groups:
        for pattern in group:
            digest.update(pattern.encode() + b"\0")
        digest.update(b"\1")
    return cache / f"patterns-{digest.hexdigest()[:32]}.hs"


def _processor() -> bytes:
    """Return what tells processors apart, because a home folder may be shared by machines."""
    try:
        text = Path("/proc/cpuinfo").read_bytes()
    except OSError:
        return os.uname().machine.encode()
    return b"".join(line for line in text.split(b"\n\n")[0].splitlines() if line.startswith((b"flags", b"model name")))


def _read(path: Path, hyperscan: Any) -> Any:  # noqa: ANN401 - a library without types
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        database = hyperscan.loadb(packed, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.HyperscanError as error:
        _log.info("compiled patterns in %s are not usable: %s", path, error)
        return None
    return database


def _write(path: Path, packed: bytes) -> None:
    """Write to the side and rename, so that a process that starts at the same time reads all or nothing."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(packed)
        os.replace(file.name, path)  # noqa: PTH105 - the name is text
        kept = sorted(path.parent.glob("patterns-*.hs"), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in kept[_KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.info("compiled patterns could not be kept: %s", error)
