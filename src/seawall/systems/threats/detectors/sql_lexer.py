"""Read text as SQL tokens: what MySQL, PostgreSQL, SQL Server, Oracle and SQLite share, told in one letter each.

The reader is tolerant, as the attacker chooses the dialect: both kinds of quotes hold strings, three kinds of comments
are white space, MySQL's conditional comments are read as if they were not there, and whatever has no meaning in any
dialect is a token of its own, so that prose shows itself by not being SQL.

Kinds of tokens::

    n number            s string             t string cut off by the end     v variable, @@version
    w word, name        i quoted name        f name of a function called     N NULL, TRUE and other constants
    & AND OR XOR || &&  = comparison         + arithmetic                    ! NOT, ~, DISTINCT ... before an operand
    U UNION, EXCEPT     A ALL                S SELECT                        F FROM     W WHERE     H HAVING
    G GROUP, ORDER      B BY                 L LIMIT, OFFSET                 I INTO     K other words that bind clauses
    ( ) , ; .           d comment to the end                                 ? anything else
"""

import re
from typing import Final

import msgspec

__all__ = ["KEYWORDS", "TOKENS_CAP", "Tokens", "lowered", "read"]

TOKENS_CAP: Final = 1_500
"""Tokens read of one text; at about 0.3 us each."""

_KINDS_OF_WORDS: Final = {
    "&": "and or xor",
    "=": "like rlike regexp ilike glob between in is similar sounds match contains overlaps",
    "+": "div mod",
    "!": "not binary exists distinct distinctrow any some prior interval",
    "N": "null true false default current_user session_user system_user current_timestamp current_date unknown sysdate",
    "U": "union intersect except minus",
    "A": "all",
    "S": "select",
    "F": "from",
    "W": "where",
    "H": "having",
    "G": "group order",
    "B": "by",
    "L": "limit offset fetch procedure",
    "I": "into",
    "K": "as on using join inner left right outer cross natural case when then else end escape collate"
    " asc desc top values"
    " returning over partition for",
}
KEYWORDS: Final = {word: kind for kind, words in _KINDS_OF_WORDS.items() for word in words.split()}
"""Kind of each word that has one of its own, in lower case."""

# A number ends where its digits end, even when a keyword follows at once: `1e1union` is a number and a keyword.
_GLUED: Final = r"(?:union|select|and|or|from|where|having|order|group|limit|like|is|in|between|into|as|xor|div|mod)\b"
_TOKEN: Final = re.compile(
    r"[\s\x01-\x20\u200b\ufeff\ufffd]*+(?:"
    r"((?![nxbe]'|u&'|_\w+\s?')[^\W\d][\w$]*+)"  # 1 word
    r"|([(),;+%^]|\.(?!\d)|=(?!=)|\*(?!/)|-(?![->])|/(?!\*))"  # 2 operator of one character
    rf"|(0x[0-9a-f]*+(?!\w)|0b[01]++(?!\w)|(?:\d++(?:\.\d*+)?|\.\d++)(?:e[+-]?\d++)?(?:(?!\w)|(?={_GLUED})))"
    r"|((?:[nxbe]|u&|_\w+\s?)?'(?:[^'\\]++|\\.|'')*+'|\"(?:[^\"\\]++|\\.|\"\")*+\"|\$\$[^$]*+\$\$"  # 4 string
    r"|\{`?[a-z]\w{0,15}+`?\s?'[^'\\]*+'\}"
    r"|\$(?P<tag>[^\W\d]\w{0,15}+)\$[^$]{0,200}+\$(?P=tag)\$)"  # 5 is its tag
    r"|((?:[nxbe]|u&|_\w+\s?)?['\"][\s\S]*+)"  # 6 string that the end cuts off
    r"|(/\*!\d*+|/\*(?:[^*]++|\*(?!/))*+\*/|\*/|::\s*+\w++(?:\(\d*\)|\[\])*+)"  # 7 nothing: comments, casts
    r"|(/\*[\s\S]*+|(?:--|\#)[^\n]*+)"  # 8 comment
    r"|(<=>|<>|!=|<=|>=|==|:=|->>?|@>|<@|\#>>?|!~~?\*?|~~?\*|~~|<<|>>|[<>]|\|\||&&|[|&!~])"  # 9 other operator
    r"|(@@?+[\w$.]++|@(?=:=|[=<>!#)])|@['\"`][\w ]*+['\"`]|:\w++)"  # 10 variable
    r"|(`[^`]*+`|\[\w[\w ]*+\])"  # 11 quoted name
    r"|\x00([\s\S]*+)"  # 12 a null byte ends the statement in some drivers
    r"|(\w++|\S)"  # 13 anything else
    r"|\Z"  # so that white space at the end is read once
    r")"
)
_FIXED: Final = ("", "", "", "n", "s", "", "t", "", "d", "", "v", "i", "d", "?")
_WORD, _NOTHING, _COMMENT = 1, 7, 8
_SIGNS: Final = frozenset((2, 9))
_ALSO_CALLED: Final = frozenset(
    ("like", "glob", "regexp", "left", "right", "mod", "interval", "values", "match", "asc")
)
_OPERATORS: Final = {
    **{sign: sign for sign in "(),;."},
    **dict.fromkeys(("=", "<=>", "<>", "!=", "<=", ">=", "==", ":=", "->", "->>", "@>", "<@", "<", ">"), "="),
    **dict.fromkeys(("#>", "#>>", "!~", "!~*", "!~~", "!~~*", "~*", "~~", "~~*"), "="),
    **dict.fromkeys(("+", "-", "*", "/", "%", "^", "|", "&", "<<", ">>"), "+"),
    **dict.fromkeys(("||", "&&"), "&"),
    **dict.fromkeys(("!", "~"), "!"),
}
_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Tokens(msgspec.Struct, gc=False):
    """A text as tokens; index `i` of each member is about the same token.

    Attributes:
        kinds: one letter for each token; see the module's docstring.
        texts: in lower case.
        starts: index of the first character in the text that was read.
        hidden: how many comments stood between tokens where white space would.
        conditional: whether a comment of MySQL was among them that is executed.
        squeezed: how many of them were not to the end of a line.
    """

    kinds: str
    texts: list[str]
    starts: list[int]
    hidden: int = 0
    conditional: bool = False
    squeezed: int = 0


def lowered(text: str) -> str:
    """Put ASCII letters in lower case, and others where that keeps the length, so that indexes stay true."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(_ASCII_LOWER)


def _due(kinds: list[str]) -> bool:
    """Tell whether an operand is due where the last token stands, which then is no operator."""
    return len(kinds) < 2 or kinds[-2] in "=+&(,S!;UAWBK"


def read(text: str, start: int = 0) -> Tokens:
    """Read a text in lower case from an index on, up to `TOKENS_CAP` tokens. Never fails; linear in the text."""
    kinds: list[str] = []
    texts: list[str] = []
    starts: list[int] = []
    hidden = squeezed = 0
    conditional = False
    length = len(text)
    keyword = KEYWORDS.get
    for match in _TOKEN.finditer(text, start):
        group = match.lastindex
        if group is None:
            continue
        token = match[group]
        if group == _WORD:
            kind = keyword(token, "w")
        elif group in _SIGNS:
            kind = _OPERATORS[token]
            if kind == "(" and kinds and (kinds[-1] == "w" or (texts[-1] in _ALSO_CALLED and _due(kinds))):
                kinds[-1] = "f"
        elif group == _NOTHING:
            if token[0] == "/":
                hidden += 1
                squeezed += 1
                conditional |= token.startswith("/*!")
            continue
        elif group == _COMMENT and match.end() < length:
            hidden += 1
            continue
        else:
            kind = _FIXED[group]
        kinds.append(kind)
        texts.append(token)
        starts.append(match.start(group))
        if len(kinds) >= TOKENS_CAP:
            break
    return Tokens("".join(kinds), texts, starts, hidden, conditional, squeezed)
