"""What programming languages call the things that run other programs or other code, and what only attackers name."""

import re
from typing import Final

__all__ = [
    "COMMAND_CHAINS",
    "EVALUATORS",
    "GADGETS",
    "GADGET_MARKS",
    "INCLUDERS",
    "MODULES",
    "OPENERS",
    "PROBES",
    "READERS",
    "RUNNERS",
    "SINK_CHAINS",
    "SUPERGLOBALS",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RUNNERS: Final = _words(
    "shell_exec passthru proc_open pcntl_exec create_function call_user_func call_user_func_array phpinfo php_uname"
    " highlight_file show_source file_put_contents unserialize get_defined_vars __import__ execsync"
    " spawnsync execfilesync"
    " getruntime processbuilder activexobject createobject phpversion execfile register_shutdown_function"
    " register_tick_function ob_start_callback posix_getpwuid disk_total_space getlastmod get_current_user"
)
"""Functions that nobody calls in a form, whatever their arguments."""

EVALUATORS: Final = _words("system exec eval assert popen execute spawn fork_exec instance_eval class_eval xp_cmdshell")
"""Functions that run what they are given; several languages and plain English have these words."""

READERS: Final = _words(
    "include include_once require_once readfile readfilesync writefilesync readdirsync file_get_contents"
    " fopen unlink opendir"
    " scandir glob putenv ini_set chmod rename copy move_uploaded_file base64_decode gzinflate gzuncompress str_rot13"
    " preg_replace array_map array_filter usort uasort array_walk error_log symlink mail dl var_dump print_r"
)
"""Functions that an injected line begins with or is wrapped in."""

INCLUDERS: Final = _words("include include_once require_once virtual")
"""Functions of PHP that run what they are named."""

OPENERS: Final = _words("open file read openread readlines readalltext readtextfile require include import fopen")
"""Functions that open what they are named; everyone calls them, so only what is named tells."""

PROBES: Final = _words(
    "print echo die exit printf print_r var_dump md5 sha1 response.write res.end res.send console.log puts"
)
"""What a scanner prints with, to see its sum or hash come back."""

MODULES: Final = _words(
    "child_process fs net os vm http https cluster repl worker_threads dns module process inspector"
)
"""Modules of Node that reach out of a program."""

SUPERGLOBALS: Final = re.compile(
    r"\$_?(?:get|post|request|cookie|server|files|session|env)\b|\$globals\b|\$\{?_", re.IGNORECASE
)
"""Variables of PHP that hold the request."""

COMMAND_CHAINS: Final = re.compile(
    r"(?:os\.(?:system|popen\d?|exec[lv]\w*|spawn\w*|execute)|subprocess\.\w+|commands\.get\w+|exec\.command(?:context)?"
    r"|(?:std\.)?(?:process\.)?command\.new|deno\.(?:run|command)|bun\.(?:spawn|spawnsync)|io\.popen\d?|open3\.\w+|kernel\.(?:system|exec|spawn|popen|open|eval)|process\.spawn)$"
)
"""Calls that run a command: the same in honest programs, so that the command tells."""

SINK_CHAINS: Final = re.compile(
    r"(?:pty\.spawn|kernel\.(?:exit|fork)"
    r"|(?:require\.)?child_process\.\w+|process\.(?:mainmodule|binding|exit|kill|env|dlopen|_load"
    r"|constructor)(?:\.\w+)*"
    r"|(?:global|root|globalthis|this)\.process(?:\.\w+)*|\w*(?:\.\w+)*\.?constructor\.constructor"
    r"|(?:java\.lang\.)?runtime\.getruntime(?:\.exec)?|(?:java\.lang\.)?processbuilder(?:\.\w+)?"
    r"|(?:java\.lang\.)?class\.forname"
    r"|[\w.]*getclass\.forname|[\w.]*getruntime\.exec|javax\.script\.scriptenginemanager|javax\.naming\.initialcontext"
    r"|(?:system\.)?diagnostics\.process\.start|process\.start|(?:system\.reflection\.)?assembly\.load\w*"
    r"|pickle\.loads?|yaml\.load"
    r"|marshal\.loads?"
    r"|wscript\.shell|server\.createobject|importlib\.import_module|socket\.socket|builtins\.\w+|__builtins__\.\w+"
    r"|fs\.(?:readfile|readfilesync|writefile|writefilesync|readdir|readdirsync|unlink|createreadstream)|vm\.run\w+)$"
)
"""Calls through an object or a module; a whole chain in lower case, `.` for every kind of joint, calls left out."""

GADGETS: Final = re.compile(
    r"class[.\[]+['\"]?module['\"]?\]?[.\[]+['\"]?classloader|class[.\[]['\"]?classloader"
    r"|_\$\$nd_(?:func|cc)\$\$_|!!python/(?:object|name|module)|!ruby/(?:object|hash|struct)|!!js/(?:function|undefined)"
    r"|!!?(?:perl|php)/(?:object|code|hash|ref)|<tag:yaml\.org,2002:(?:js|python|ruby|perl|php)/|__js_function"
    r"|\\think\\|/invokefunction\b|\bcall_user_func(?:_array)?&|_method=__construct|server\[request_method\]="
    r"|(?:\[\d{0,2}\]|function|callback)=(?:exec|passthru|shell_exec|assert|popen|proc_open|phpinfo|call_user_func\w*)(?:&|$)"
    r"|<cf(?:execute|object)\b|\bjdbc:(?:h2|hsqldb|derby)[^\s\"']{0,200}(?:init|trace_level_\w+|runscript)\s{0,2}=?"
    r"|\bjdbc:[^\s\"']{0,200}(?:autodeserialize|socketfactory|queryinterceptors|allowloadlocalinfile|allowurlinlocalinfile)\s{0,2}="
    r"|\[\s{0,4}\"(?:[a-z]\w{0,24}\.){2,8}(?-i:[A-Z])\w{2,60}\"\s{0,4},\s{0,4}[{\"\[]"
    r"|!!(?:javax?|com|org|sun)\.[a-z.]{3,80}|[\"']@type[\"']\s{0,8}:\s{0,8}[\"'](?:l?com|l?org|l?java"
    r"|l?javax|l?sun|\[)[.a-z]"
    r"|[\"']\$type[\"']\s{0,8}:\s{0,8}[\"']system\.|#_memberaccess|xwork\.methodaccessor|ognl\.ognlcontext|@ognl\."
    r"|@java\.lang\.|t\(java\.|(?<![\w.])java\.lang\.(?:runtime|processbuilder|system\b|class\b|thread@)"
    r"|com\.sun\.rowset\."
    r"|org\.apache\.(?:commons\.collections|xalan\.xsltc|bcel|tomcat\.dbcp)|<(?:java|object"
    r"|void)\s[^>]{0,200}class\s{0,4}="
    r"\s{0,4}[\"']java\.|<dynamic-proxy>|java\.beans\.(?:xmldecoder|eventhandler)|objectdataprovider"
    r"|typeconfusedelegate"
    r"|windowsidentity\b.{0,40}bootstrapcontext|javax\.management\.badattributevalue|scriptenginemanager"
    r"|\bgroovy\.(?:lang|util)\.|\$\{jndi:|\[\s{0,4}[\"']com\.sun\.|springframework\.(?:context\.support|expression)",
    re.IGNORECASE,
)
"""Names of what serialised objects, expressions and binders are abused through."""

GADGET_MARKS: Final = (
    *(
        "classloader",
        "nd_",
        "!!",
        "!ruby/",
        "type",
        "memberaccess",
        "xwork",
        "ognl",
        "java",
        "com.sun",
        "org.apache",
    ),
    *("dynamic-proxy", "objectdata", "typeconfuse", "bootstrap", "badattribute", "scriptengine", "groovy", "jndi"),
    *("springframework", "think\\", "invokefunction", "call_user", "__construct", "request_method]", "<cf", "jdbc:"),
    *('["', '[ "', "!js", "!php", "!perl", "tag:yaml", "__js", "=exec", "=passthru", "=shell_exec", "=assert", "=p"),
)
"""One of these is in all that `GADGETS` finds, in lower case."""
