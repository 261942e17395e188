"""Find code of PHP, Java, JavaScript, Python, Ruby, Perl and .NET where a value is due, and serialised objects.

Values are read as tokens that these languages share: chains of names (`a.b`, `a->b`, `A::b`, `@a@b`), calls, strings,
variables. What is called, with what kind of argument, and whether the value is code or prose around a word decides.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.detectors.code_forms import TRIGGERS, forms
from seawall.systems.threats.detectors.code_words import (
    COMMAND_CHAINS,
    EVALUATORS,
    GADGET_MARKS,
    GADGETS,
    INCLUDERS,
    MODULES,
    OPENERS,
    PROBES,
    READERS,
    RUNNERS,
    SINK_CHAINS,
    SUPERGLOBALS,
)
from seawall.systems.threats.detectors.prose import plain_words
from seawall.systems.threats.detectors.serialized import serialized
from seawall.systems.threats.detectors.shell_context import is_blob
from seawall.systems.threats.detectors.shell_quoted import TELLING, UNQUOTED, quoted_command
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR", "scan"]

_CRITICAL, _HIGH, _MEDIUM = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM
_TOKENS_CAP: Final = 600

_TOKEN: Final = re.compile(
    r"[\s@]*+(?:([a-z_]\w*+(?:(?:\.|->|::|\\|@|\?\.|\(\)\.)[a-z_]\w*+)*+)(\s?\()?"  # 1 chain of names, 2 called
    r"|(\$(?:\{\w++\}|\w++)(?:->\w++|\[[^\]]{0,64}\])*+)(\s?\()?"  # 3 variable, 4 called
    r"|(\"(?:[^\"\\]++|\\.)*+\"|'(?:[^'\\]++|\\.)*+')"  # 5 string
    r"|(`[^`]{1,200}`)"  # 6 command in backticks
    r"|(\d[\w.]*+)"  # 7 number
    r"|(<\?(?:php\b|=)?|<%(?:=|@)?)"  # 8 opening of code in a page
    r"|(['\"][\s\S]*+)"  # 9 string that the end cuts off
    r"|(\S)|\Z)",  # 10 punctuation
    re.IGNORECASE,
)
_KINDS: Final = ("", "w", "c", "v", "C", "s", "`", "n", "<", "t", "")
_JOINTS: Final = re.compile(r"->|::|\\|@|\?\.|\(\)\.")
_DYNAMIC: Final = re.compile(
    r"\((?:w\.)*\(w\)(?:\.w)*\)\(|\(w(?:\.\(w\))+(?:\.w)*\)\(|\((?:[sv~!^.+]|[(]|\)(?!\()){0,40}\)\((?!\))|s\((?:s|v|\))|\)\)\("
)
_CHR: Final = re.compile(r"\bchr\s?\(\s?\d{1,3}\s?\)\s?\.\s?chr\s?\(", re.IGNORECASE)
_BYTES: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_BREAK: Final = frozenset(";{}.'\")&|")
_DUNDERS: Final = re.compile(
    r"__(?:class|init|base|bases|mro|globals|builtins|self|dict|subclasses|getitem|enter|import)__[\s()\[\]'\".,\d]{0,16}"
    r"__(?:bases?|mro|subclasses|globals|builtins|import|code|getattribute|reduce)__"
    r"|[\[(.]['\"]__(?:builtins|globals|import|subclasses)__|[.\['\"]__(?:subclasses|globals|builtins|import)__[\]'\"]{0,2}\s?[(\[.)]|\b__builtins__\b[.\[,]"
)
_TAKEN: Final = re.compile(
    r"['\"](?:file://)?(?:/etc/(?:passwd|shadow|hosts|group|issue)|/proc/|/root/|/var/log/|[a-z]:[\\/]+(?:windows|boot)|(?:\.\.[\\/]){2}"
    r"|(?:php|data|expect|phar|zip|ftp|file|compress\.zlib|glob)://?|data:)|id_rsa|\.ssh/|\.htpasswd|wp-config|__file__",
    re.IGNORECASE,
)
"""What nobody reads, or includes, but an attacker."""


class _Read(NamedTuple):
    kinds: str
    names: list[str]
    starts: list[int]
    ends: list[int]
    loose: frozenset[int]
    """Indexes of calls with a space before the bracket, as prose has it."""


def scan(text: str, _kind: PlaceKind) -> Sequence[Signal]:
    """Judge a value: signals of confidence 0.3 and above, the strongest first, one a rule. Linear in the text."""
    if "%20" in text:
        return ()  # its decoded view is judged; here prose would not look like prose
    best: dict[str, Signal] = {}
    for signal in _signals(text):
        known = best.get(signal.rule)
        if signal.confidence >= 0.3 and (known is None or known.confidence < signal.confidence):
            best[signal.rule] = signal
    return sorted(best.values(), key=lambda signal: signal.confidence, reverse=True)[:8]


def _signals(text: str) -> Iterator[Signal]:
    yield from serialized(text)
    words = plain_words(text, limit=8)
    lower = text.lower()
    gadget = GADGETS.search(text) if any(mark in lower for mark in GADGET_MARKS) else None
    if gadget is not None:
        yield Signal("code-gadget", _CRITICAL, 0.94 if words <= 3 else 0.6, gadget.start(), gadget.end())
    yield from forms(text, lower, words)
    dunders = _DUNDERS.search(text) if "__" in text else None
    if dunders is not None:
        yield Signal("code-python", _CRITICAL, 0.92 if words <= 6 else 0.5, dunders.start(), dunders.end())
    read = _read(text)
    # A quote that ends what came before hides what follows it in a string.
    yield from _calls(text, read, words)
    if "s" in read.kinds or "t" in read.kinds:
        quote = min(index for index in (text.find("'"), text.find('"')) if index >= 0)
        rest = text[quote + 1 :]
        if rest.lstrip(" \t\n)]}")[:1] in (".", ";", "+", "&", "|", "-", "`", ","):
            for signal in _calls(rest, _read(rest), words, broken=True):
                yield signal._replace(start=signal.start + quote + 1, end=min(signal.end + quote + 1, len(text)))


def _read(text: str) -> _Read:
    kinds: list[str] = []
    names: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    loose: list[int] = []
    for match in _TOKEN.finditer(text):
        group = match.lastindex
        if group is None or len(kinds) >= _TOKENS_CAP:
            break
        name = match[group - 1] if group in (2, 4) else match[group]
        if group == 2 and len(match[2]) > 1:
            loose.append(len(kinds))
        kinds.append(_KINDS[group] or name)
        names.append(_JOINTS.sub(".", name.lower()) if group <= 2 else name)
        ends.append(match.end())
        starts.append(match.start(group - 1 if group in (2, 4) else group))
    return _Read("".join(kinds), names, starts, ends, frozenset(loose))


def _calls(  # noqa: C901 - one pass over the tokens
    text: str, read: _Read, words: int, *, broken: bool = False
) -> Iterator[Signal]:
    """Judge calls, superglobals, and code that pages begin with."""
    kinds, names, starts, _, _ = read
    length = len(text)
    doubt = 0.45 if words >= 5 else 0.25 if words >= 3 else 0.0
    page = next((at for at, kind in enumerate(kinds) if kind == "<" and len(names[at]) > 1), -1)
    if page >= 0 and _BYTES.search(text, starts[page], starts[page] + 40) is not None:
        page = -1
    sinks = 0
    for index, kind in enumerate(kinds):
        if kind == "c":
            sure = _call(text, read, index, broken=broken or _after_break(kinds, index))
            if sure > 0:
                sinks += sure >= 0.75
                yield Signal("code-call", _CRITICAL, _damped(sure, doubt), starts[index], length)
        elif kind in "vC":
            if SUPERGLOBALS.match(names[index]) and len(names[index]) > 4 and (kind == "C" or "[" in names[index]):
                yield Signal("code-php", _CRITICAL, _damped(_given(read, index), doubt), starts[index], length)
            elif kind == "C" and (kinds[index + 1 : index + 2] in ("s", "v") and kinds[:1] == "v" and "=" in kinds):
                yield Signal("code-php", _HIGH, _damped(0.88, doubt), starts[index], length)
        elif kind == "w" and names[index].startswith("execute.") and kinds[max(0, index - 2) : index] == "s.":
            yield Signal("code-call", _CRITICAL, _damped(0.93, doubt), starts[index], length)
        elif (
            kind == "w"
            and SINK_CHAINS.match(names[index])
            and "." in names[index]
            and kinds[index + 1 : index + 2] != "="
        ):
            strong = names[index].startswith(("process.mainmodule", "global.process", "root.process", "os.system"))
            yield Signal("code-call", _HIGH, _damped(0.85 if strong else 0.4, doubt), starts[index], length)
    if page >= 0:
        rest = kinds[page + 1 :]
        telling = sinks or "`" in rest or "C" in rest or _superglobal(read, page)
        sure = 0.96 if sinks else 0.88 if telling and ";" in rest else 0.65 if telling else 0.45
        yield Signal("code-page", _CRITICAL, _damped(sure, doubt), starts[page], length)
    dynamic = _DYNAMIC.search(kinds) if "(" in kinds else None
    near = kinds[max(0, dynamic.start() - 8) : dynamic.end()] if dynamic is not None else ""
    if (
        dynamic is not None
        and words <= 1
        and ("s" in near or "v" in near or dynamic[0].count("w") > 1)
        and not is_blob(text, starts[dynamic.start()])
    ):
        yield Signal("code-dynamic", _HIGH, 0.8, starts[dynamic.start()], length)
    chain = _CHR.search(text)
    if chain is not None:
        yield Signal("code-php", _HIGH, _damped(0.88, doubt), chain.start(), length)


def _damped(sure: float, doubt: float) -> float:
    return max(sure - doubt, 0.0)


def _after_break(kinds: str, index: int) -> bool:
    """Tell whether a token stands where a statement or an expression may begin anew."""
    return index > 0 and kinds[index - 1] in _BREAK and kinds[max(0, index - 2) : index] != "){"


def _superglobal(read: _Read, page: int) -> bool:
    pairs = zip(read.kinds[page:], read.names[page:], strict=True)
    return any(kind in "vC" and SUPERGLOBALS.match(name) for kind, name in pairs)


def _given(read: _Read, index: int) -> float:
    """How sure a variable of the request is: by what it is handed to."""
    kinds, names = read.kinds, read.names
    if kinds[index] == "C" or "C" in kinds[index:]:
        return 0.95
    before = kinds.rfind("c", max(0, index - 12), index)
    while before >= 0:
        if names[before].rpartition(".")[2] in _TAKERS:
            return 0.95
        before = kinds.rfind("c", max(0, index - 12), before)
    if any(kind == "c" and name in RUNNERS | EVALUATORS for kind, name in zip(kinds, names, strict=True)):
        return 0.9
    return 0.45 if "c" in kinds else 0.6


def _call(  # noqa: PLR0911 - one return for each kind of function
    text: str, read: _Read, index: int, *, broken: bool
) -> float:
    """How sure a call is: by what is called and the kind of its first argument."""
    kinds, names = read.kinds, read.names
    chain = names[index]
    name = chain.rpartition(".")[2]
    argument = kinds[index + 1 : index + 2]
    if COMMAND_CHAINS.match(chain):
        told = quoted_command(text, read.ends[index])
        imported = _IMPORTED.search(text) is not None
        return 0.96 if told == TELLING else 0.9 if imported and told != UNQUOTED else 0.8 if imported else 0.45
    if "." in chain and SINK_CHAINS.match(chain):
        return 0.96
    if name == "execute" and kinds[max(0, index - 2) : index] == "s." and argument == ")":
        return 0.93
    loaded = _loaded(read, index, name) if argument in ("s", "t") else 0.0
    if loaded or ("." in chain and name not in RUNNERS):
        return loaded or (_printed(read, index) if chain in PROBES else 0.0)
    if name in RUNNERS:
        return 0.94 if argument or name == "phpinfo" else 0.6
    if name in EVALUATORS:
        return _evaluated(text, read, index, broken=broken)
    if name in READERS and (argument in ("s", "v", "c", "t", "C") or name in ("gzinflate", "str_rot13")):
        inner = names[index + 1].strip("'\"").rpartition(".")[2].lower()
        nested = inner in RUNNERS | EVALUATORS | READERS or (name == "preg_replace" and _RUN.search(names[index + 1]))
        return 0.93 if nested else 0.85 if broken or name in _TELLING else 0.4
    return _printed(read, index) if name in PROBES else 0.0


def _loaded(read: _Read, index: int, name: str) -> float:
    """How sure a call is that loads, opens, includes or compiles what a string says; 0 when it is none."""
    kinds, names = read.kinds, read.names
    given = names[index + 1]
    if name in ("require", "import", "import_module", "getbuiltinmodule"):
        module = given.strip("'\"").removeprefix("node:")
        if module in MODULES:
            asks = names[index + 4 : index + 5] in (["get"], ["request"])
            return 0.96 if module not in ("http", "https") or asks else 0.0
    if name == "function":
        return 0.92 if kinds[index + 2 : index + 4] == ")(" else 0.0
    if name in READERS | OPENERS and _TAKEN.match(given):
        return 0.9
    if name in INCLUDERS and given[1:5].lower() == "http":
        return 0.85
    compiled = name == "compile" and kinds[index + 1 : index + 6] == "s,s,s"
    return 0.9 if compiled and names[index + 5][1:-1] in ("exec", "eval") else 0.0


_TAKERS: Final = RUNNERS | EVALUATORS | READERS | frozenset(("extract", "parse_str", "call_user_func"))
_TELLING: Final = frozenset(("file_get_contents", "base64_decode", "readfilesync", "gzinflate", "str_rot13", "scandir"))


_IMPORTED: Final = re.compile(r"__import__|\bimport\s+(?:os|subprocess|pty|commands)\s*;")
_WRITTEN: Final = re.compile(r"\bimport\s|[\w\])]\(|`|\$\{|;\s*\w")
"""Code, in a string."""

_RUN: Final = re.compile(r"[/#~|]\w{0,4}e\w{0,4}['\"]$")
"""A pattern of PHP whose replacement is run as code."""


def _evaluated(text: str, read: _Read, index: int, *, broken: bool) -> float:
    kinds, names = read.kinds, read.names
    argument = kinds[index + 1 : index + 2]
    if argument == "s" and names[index] in ("system", "exec", "popen", "execute", "spawn") and not broken:
        written = _WRITTEN.search(names[index + 1]) is not None
        return 0.94 if written or quoted_command(text, read.ends[index]) == TELLING else 0.6
    if argument in ("s", "v", "C", "t", "`"):
        return 0.94
    if argument == "c":
        inner = names[index + 1].rpartition(".")[2]
        return 0.94 if inner in READERS | RUNNERS | EVALUATORS or broken else 0.8
    if argument in ("w", "n"):
        prose = index in read.loose or kinds[index - 1 : index] == "w" or kinds[index + 3 : index + 4] == "w"
        if prose or kinds[index + 2 : index + 3] not in (")", "") or names[index] in ("spawn", "execute"):
            return 0.3
        return 0.88 if broken else 0.75 if index == 0 else 0.6
    return 0.6 if broken and argument == ")" else 0.3


def _printed(read: _Read, index: int) -> float:
    """A scanner that prints a hash or a product to see it come back."""
    kinds, names = read.kinds, read.names
    rest = kinds[index + 1 : index + 5]
    if rest[:1] == "c" and names[index + 1].rpartition(".")[2] in PROBES | RUNNERS | READERS | EVALUATORS:
        return 0.9
    return 0.85 if rest[:3] in ("n*n", "n+n", "n-n") else 0.0


DETECTOR: Final = Detector(
    name="code",
    category=ThreatClass.CODE_INJECTION,
    owasp="A03:2021",
    triggers=(
        (
            r"\b(?:system|s?hell_exec|exec|eval|assert|popen|execute|spawn|passthru|proc_open|pcntl_exec|create_function"
            r"|call_user_func\w{0,8}|phpinfo|phpversion|php_uname|highlight_file|show_source|file_put_contents|unserialize"
            r"|get_defined_vars|__import__|execsync|spawnsync|execfilesync|execfile|getruntime|processbuilder|activexobject"
            r"|createobject|register_\w{4,9}_function|posix_getpwuid|get_current_user|instance_eval|class_eval"
            r"|include|include_once|require|require_once|import|import_module|readfile|readfilesync|writefilesync"
            r"|readdirsync|file_get_contents|fopen|unlink|opendir|scandir|putenv|ini_set|chmod|move_uploaded_file"
            r"|base64_decode|gzinflate|gzuncompress|str_rot13|preg_replace|array_map|array_filter|usort|uasort|array_walk"
            r"|var_dump|print_r|function|getbuiltinmodule|forname)\s?\("
        ),
        r"\b(?:print|echo|die|exit|printf|md5|response\.write|res\.end|res\.send|console\.log|puts)\s?\(\s?(?:[0-9]|[a-z_0-9.]{2,24}\()",
        r"\b(?:os|subprocess|commands|pty|child_process|io|open3|kernel|pickle|yaml|marshal|fs|vm|builtins|socket)\.[a-z]\w{2,20}",
        r"process\.(?:mainmodule|binding|exit|kill|env|dlopen|start)|\.process\b|constructor\.constructor|wscript\.shell",
        r"runtime|processbuilder|classloader|scriptengine|initialcontext|assembly\.load|importlib",
        r"\$_(?:get|post|request|cookie|server|files|session|env)|\$globals|\$\w{1,32}\s?\(|<\?|<%[=@]",
        r"\bchr\s?\(\s?[0-9]{1,3}\s?\)\s?\.",
        r"\)\s?\(|['\"]\s?\(",
        r"\b[oce]:\+?[0-9]{1,5}:",
        r"ro0ab|aced0005|\xac\xed\x00\x05|aaeaaad/|aqaaap////8b|aabaaaa/////|h4si|\bej[wxyz][a-z0-9+/_-]{16}|\b(?:bagx|bqcd|chn0ma|baoimti)|\bga[snjru][a-z0-9+/_-]{16}|\bbah[vbo][a-z0-9+/]{16}|\bc[a-z_][\w.]{1,60}\n",
        r"_\$\$nd_func|!!python|!ruby/|!!(?:javax?|com|org|sun)\.|['\"][@$]type['\"]|#_memberaccess|xwork|ognl|@java\.|t\(java\.",
        r"java\.lang\.|com\.sun\.|org\.apache\.|springframework|java\.beans|objectdataprovider|typeconfuse|groovy\.",
        r"__(?:class|init|bases?|mro|globals|builtins|subclasses|dict|import)__|\\think\\|invokefunction|[\]nk]=(?:exec|passthru|shell_exec|assert|popen|proc_open|phpinfo|call_user)|__construct|call_user_func|request_method\]|<cf(?:execute|object|file)",
        r"(?:^|[^a-z0-9_])(?:open|file|read|include|require)\s?\(\s?['\"]|\.execute\s?\(|compile\s?\(|(?:exec|process|deno|bun)(?:\.|::)[a-z]|jdbc:[a-z]|\[\s{0,4}\"(?:com|org|net|ch|br|oracle|javax|sun)\.",
        r"!!js|!!perl|!!php|!php/|<tag:yaml|__js_function|nd_cc|command(?:\.|::)new",
        *TRIGGERS,
        r"<dynamic-proxy>|class\s{0,4}=\s{0,4}['\"]java\.|badattributevalue|bootstrapcontext",
    ),
    scan=scan,
)
