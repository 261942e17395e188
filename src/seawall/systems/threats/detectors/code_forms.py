"""Injected code that tells by its form: callbacks by name, inner names of objects, classes that types name."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from seawall.systems.threats.detector import Signal
from seawall.systems.threats.model import Severity

__all__ = ["TRIGGERS", "forms"]

_RUN_BY_NAME: Final = (
    r"(?:system|exec|shell_exec|passthru|popen|proc_open|pcntl_exec|assert|eval|phpinfo|readfile|show_source|highlight_file"
    r"|file_get_contents|create_function|call_user_func(?:_array)?|unserialize|include|require)"
)
_CALLBACKS: Final = (
    r"(?:u[ak]?sort|array_(?:map|filter|walk(?:_recursive)?|reduce|u?(?:diff|intersect)(?:_u?(?:assoc|key))?|diff_ukey|intersect_ukey)"
    r"|iterator_apply|ob_start|register_(?:shutdown|tick)_function|set_(?:error|exception)_handler|preg_replace_callback(?:_array)?"
    r"|mb_ereg_replace_callback|forward_static_call(?:_array)?|spl_autoload_register|header_register_callback|call_user_(?:func|method)(?:_array)?"
    r"|session_set_save_handler|assert_options|callbackfilteriterator|reflectionfunction|fromcallable|invoke(?:args)?|is_callable)"
)
_ASKED: Final = (
    r"(?:getenv|get_cfg_var|get_loaded_extensions|get_defined_(?:vars|functions|constants)|ini_get(?:_all)?|get_current_user|getcwd"
    r"|php_(?:ini_loaded_file|sapi_name|uname)|phpversion|sys_getloadavg|posix_get\w{2,8}|posix_uname|apache_get_modules|getallheaders"
    r"|debug_backtrace|getmy[a-z]{3,5}|gethostname|disk_(?:free|total)_space|get_include_path|get_included_files|scandir|glob"
    r"|file_get_contents|file|opendir|dirname|realpath|sys_get_temp_dir|zend_version|extension_loaded|function_exists|stream_get_wrappers"
    r"|shell_exec|readfile|localeconv|current|session_id|hex2bin|base64_decode|md5_file|fileperms|is_writable)"
)
_DUNDER: Final = (
    r"__(?:class|base|bases|mro|subclasses|globals|builtins|dict|init|code|reduce|reduce_ex|getattribute|self|import"
    r"|module|doc|loader|spec)__"
)
_JAVA_CLASSES: Final = (
    r"java\.lang\.(?:AutoCloseable|Class|Runtime|ProcessBuilder|Thread)|java\.net\.(?:URL|Inet4Address|Inet6Address|InetSocketAddress|URLClassLoader)"
    r"|java\.util\.(?:logging\.FileHandler|jar\.JarFile)|java\.io\.(?:FileOutputStream|FileInputStream|FileReader|FileWriter|PrintWriter)|java\.rmi\.[\w.$]{4,60}"
    r"|javax\.(?:swing\.[\w.$]{4,60}|management\.[\w.$]{4,60}|naming\.[\w.$]{4,60}|script\.\w{4,60}|imageio\.[\w.$]{4,60})|sun\.(?:rmi|reflect|net|misc)\.[\w.$]{3,80}|com\.sun\.(?!star|jersey|faces|mail|jna)[\w.$]{4,100}"
    r"|org\.apache\.(?:commons\.(?:io\.(?:input|output)|collections\d?|configuration\d?|beanutils|dbcp\d?|proxy|jelly|fileupload)|ibatis\.(?:datasource|executor)|xbean|shiro\.(?:jndi|realm)"
    r"|tomcat\.dbcp|cocoon|aries|hadoop\.shaded|bcel|xalan|log4j\.(?:receivers|net|jdbc)|activemq\.(?:jms|pool|spring)|openjpa\.ee|axis2\.transport|catalina\.users|batik\.swing|myfaces\.(?:context|view)|wicket\.util\.upload)\.[\w.$]{2,80}"
    r"|com\.(?:zaxxer\.hikari|mchange\.v2\.c3p0|ibatis\.sqlmap|caucho|p6spy|nqadmin|pastdev|alibaba\.(?:druid\.pool|fastjson)|rometools|newrelic\.agent\.deps|mysql\.(?:cj\.)?jdbc|vaadin\.data|ibm\.ws)\.[\w.$]{2,80}"
    r"|br\.com\.anteros\.[\w.$]{2,80}|org\.(?:hibernate\.(?:jmx|engine|tuple|property)|quartz\.utils|codehaus\.groovy\.runtime|python\.core|jboss\.(?:interceptor|weld)|mozilla\.javascript|postgresql\.ds|h2\.jdbcx|arrah|docx4j)\.[\w.$]{2,80}"
    r"|org\.springframework\.(?:aop|beans\.factory\.(?:config|support)|context\.support|core\.SerializableTypeWrapper|jndi|transaction\.jta|web\.context)\.?[\w.$]{2,80}"
    r"|oracle\.(?:jdbc|jms|net)\.[\w.$]{2,80}|ch\.qos\.logback\.core\.[\w.$]{2,80}|net\.sf\.ehcache\.[\w.$]{2,80}|clojure\.lang\.[\w.$]{2,60}|bsh\.\w{3,30}|groovy\.(?:lang|util)\.\w{3,40}|flex\.messaging\.[\w.$]{3,60}"
)
_NET_CLASSES: Final = (
    r"System\.(?:Windows\.(?:Data|Application|ResourceDictionary|Markup|Forms|Controls|Input)|Diagnostics\.Process|Configuration\.Install|Activities|IO\.File|IO\.Directory"
    r"|Management\.Automation|Security\.(?:Principal|Claims)|Web\.(?:Security|UI)|Data\.(?:DataSet|DataTable|Services)|Drawing\.Design|Resources|Workflow|Runtime\.Remoting|Reflection"
    r"|Messaging|CodeDom|Net\.WebClient|Xml\.Xsl|AppDomain|Activator|Delegate|Lazy|Func|ServiceModel|Identity)[\w.+`]{0,80}"
    r"|Microsoft\.(?:VisualStudio|Exchange|IdentityModel|Management|PowerShell|Win32|CSharp|ApplicationId|Build)\.[\w.+]{2,80}"
)
_ASSEMBLY: Final = (
    r"(?:\s{0,2},\s{0,2}(?:PresentationFramework|PresentationCore|WindowsBase|mscorlib|System|Microsoft)"
    r"[\w., =+-]{0,160})"
)
_RUBY_CLASSES: Final = (
    r"Gem::(?:Installer|Requirement|Resolver|SpecFetcher|Source|Package|StubSpecification|DependencyList|Specification|Request|RequestSet|Security|Version)"
    r"|ActiveSupport::(?:Deprecation|Cache|MessageEncryptor|Dependencies)|ActionDispatch::(?:Routing|Journey)|ActiveModel::AttributeMethods"
    r"|Net::(?:BufferedIO|WriteAdapter)|Rack::(?:Session|Response)|Sprockets::|Rails::|UncaughtThrowError|Kernel|ERB|Logger::LogDevice|Bundler::|URI::HTTP|Psych::"
)


class _Form(NamedTuple):
    mark: str
    """What every text has, in lower case, that the pattern finds something in."""
    pattern: re.Pattern[str]
    rule: str
    confidence: float


def _form(mark: str, pattern: str, rule: str, confidence: float, flags: int = re.IGNORECASE) -> _Form:
    return _Form(mark, re.compile(pattern, flags | re.ASCII), rule, confidence)


_FORMS: Final = (
    # Functions of PHP that are named rather than called, and what only tells of the server.
    _form(
        "(",
        rf"\b{_CALLBACKS}\s?\((?:[^()]{{0,80}}(?:\([^()]{{0,40}}\))?){{0,2}}['\"]{_RUN_BY_NAME}['\"]",
        "code-callback",
        0.92,
    ),
    _form(
        "(",
        rf"\b(?:var_dump|print_r|var_export|print|echo|die|exit|debug_zval_refcount|json_encode|serialize|implode|call_user_func)\s?\(?\s?(?:['\"][^'\"]{{0,8}}['\"]\s?,\s?)?{_ASKED}\s?\(",
        "code-callback",
        0.86,
    ),
    _form(
        "(",
        r"\b(?:get_cfg_var|get_loaded_extensions|get_defined_(?:functions|constants)|ini_get_all|php_ini_loaded_file|php_sapi_name|sys_getloadavg|posix_uname|posix_get\w{3,8}|apache_get_modules|debug_zval_refcount|debug_print_backtrace|stream_get_wrappers)\s?\(",
        "code-callback",
        0.86,
    ),
    _form(
        "$",
        r"\$GLOBALS\s?\[\s?['\"]\\?x?(?:_|5f)|\$\{\s?['\"]_(?:GET|POST|REQUEST|COOKIE|SERVER)|\$\{\$_{1,4}\}\s?[\[{(]|\$_{1,8}\s?=\s?\(?\s?['\"][^'\"\n]{1,40}['\"]\s?[\^|&]|\$\{\s?~|\$\$_{1,4}\b|\(~[\"'%]",
        "code-php",
        0.88,
    ),
    _form(
        "(",
        r"\bnew\s+(?:reflection(?:function|method|class)|splfileobject|finfo|directoryiterator|filesystemiterator|globiterator|simplexmlelement|soapclient|imagick|arrayiterator)\s?\(",
        "code-callback",
        0.82,
    ),
    # Inner names of Python's objects, behind what no honest path has.
    _form(
        "__",
        rf"(?:[)\]}}'\"]|\b(?:request|config|cycler|joiner|lipsum|namespace|help|g|get_flashed_messages|url_for|print|license|exit|quit|copyright|credits|breakpoint))\s?(?:\.|\[['\"])\s?{_DUNDER}(?!\s?\.\s?__name__)",
        "code-python",
        0.86,
    ),
    _form(
        "(",
        r"\b(?:getattr|setattr|delattr|vars|dir|globals|locals)\s?\(\s?(?:__\w+__|getattr\b|globals\b|locals\b|[\w.'\"()]{1,40}\s?,\s?['\"](?:__\w|sys|pop|exe))|\bglobals\s?\(\s?\)\s?[\[.]|\bbreakpoint\s?\(\s?\)|\bcompile\s?\(\s?['\"][^'\"\n]{1,200}['\"]\s?,\s?['\"][^'\"]{0,20}['\"]\s?,\s?['\"](?:exec|eval|single)",
        "code-python",
        0.88,
    ),
    # Classes that readers of objects are to make.
    _form(".", rf"^\W{{0,4}}(?:(?-i:{_JAVA_CLASSES}))\W{{0,4}}$", "code-gadget", 0.9),
    _form("system.", rf"^\W{{0,4}}(?-i:{_NET_CLASSES})(?:{_ASSEMBLY}\W{{0,4}}$|$)", "code-gadget", 0.9),
    _form("microsoft.", rf"^\W{{0,4}}(?-i:{_NET_CLASSES}){_ASSEMBLY}\W{{0,4}}$", "code-gadget", 0.9),
    _form(
        "type",
        rf"['\"][$_@]{{0,2}}type['\"]\s{{0,4}}:\s{{0,4}}['\"](?:(?-i:{_NET_CLASSES}){_ASSEMBLY}|(?-i:{_JAVA_CLASSES})['\"])",
        "code-gadget",
        0.92,
    ),
    _form(
        "!",
        r"!<?!?(?:tag:)?(?:(?-i:System)\.[\w.+]{4,80}|(?-i:Microsoft)\.[\w.+]{4,80}|(?:java|javax|com|org|sun|groovy|bsh)\.[\w.$]{4,80})(?:,[^>\n]{0,80})?>?\s{0,4}[\[{(\"'\n]",
        "code-gadget",
        0.9,
    ),
    _form(
        "clr-namespace:",
        r"clr-namespace:\s?(?:System\.(?:Diagnostics|Windows|IO|Reflection|Management)|Microsoft)",
        "code-gadget",
        0.9,
    ),
    _form("z:type", r"\bz:(?:Type|Assembly)\s?=\s?\"[^\"]{0,100}(?:System\.|Microsoft\.)", "code-gadget", 0.85),
    _form("schemas.microsoft.com/clr", r"schemas\.microsoft\.com/clr/(?:ns|nsassem|assem)/\w", "code-gadget", 0.88),
    _form("::", rf"^\W{{0,4}}(?-i:{_RUBY_CLASSES})[\w:]{{0,80}}\W{{0,4}}$", "code-gadget", 0.85),
    _form("json_class", r"['\"]json_class['\"]\s{0,4}:\s{0,4}['\"][A-Z]", "code-gadget", 0.82),
    _form("^", r"['\"]\^[oOcu]['\"]\s{0,4}:\s{0,4}(?:['\"]|\[|\{)", "code-gadget", 0.8, 0),
    _form(
        "py/",
        r"^py/(?:reduce|function|repr|newargs(?:ex)?|newobj|type|mod|object)$|['\"]py/(?:reduce|function|repr|newargs(?:ex)?|newobj|type|mod|object)['\"]\s{0,4}:",
        "code-gadget",
        0.88,
    ),
    _form("_cryo_", r"_CRYO_(?:FUNCTION|REF|OBJECT|DATE)_", "code-gadget", 0.9),
    _form("0xfunction", r"0xFUNCTION|__proto_function__", "code-gadget", 0.8),
)

TRIGGERS: Final = (
    r"(?:u[ak]?sort|array_[a-z]{3,9}|ob_start|iterator_apply|[a-z]{2,9}_handler|replace_callback|static_call|autoload_register|register_callback|assert_options|callbackfilteriterator|reflection(?:function|method|class)|fromcallable|is_callable|splfileobject|directoryiterator|filesystemiterator|globiterator|simplexmlelement|soapclient)",
    r"(?:getenv|get_cfg_var|get_loaded_extensions|get_defined_|ini_get|get_current_user|getcwd|php_(?:ini_loaded|sapi|uname)|phpversion|sys_getloadavg|posix_(?:get|uname)|apache_get_modules|getallheaders|debug_[bpz]|getmy[a-z]{3,5}|gethostname|_space|get_include|file_get_contents|stream_get_wrappers|sys_get_temp_dir|zend_version|localeconv|var_dump|print_r|var_export)",
    r"\$globals|\$\{|\$_{1,8}\s?=|\$\$_|\(~",
    r"(?:getattr|setattr|delattr|globals|locals|breakpoint)\s?\(|__(?:base|mro|code|reduce|reduce_ex|getattribute|self|module|doc|loader|spec)__",
    r"javax?\.(?:lang|net|util|io|rmi|swing|management|naming|script|imageio)\.|(?:com|org|sun|net|br|oracle|ch|clojure|bsh|groovy|flex)\.(?:sun|rmi|reflect|net|misc|zaxxer|mchange|ibatis|caucho|p6spy|nqadmin|pastdev|alibaba|rometools|newrelic|mysql|vaadin|ibm|com\.anteros|hibernate|quartz|codehaus|python|jboss|mozilla|postgresql|h2|arrah|docx4j|jdbc|jms|qos|sf|lang|util|messaging|apache\.[a-z])[a-z0-9]{0,12}\.|\bbsh\.",
    r"system\.(?:windows|diagnostics|configuration|activities|io|management|security|web|data|drawing|resources|workflow|runtime|reflection|messaging|codedom|net|xml|appdomain|activator|delegate|lazy|func|servicemodel|identity)|microsoft\.(?:visualstudio|exchange|identitymodel|management|powershell|win32|csharp|applicationid|build)\.",
    r"!<?!?(?:tag:)?(?:system|microsoft|javax?|com|org|sun|groovy|bsh)\.|clr-namespace:|z:(?:type|assembly)|microsoft\.com/clr",
    r"gem::|activesupport::|actiondispatch::|activemodel::|net::(?:bufferedio|writeadapter)|rack::|sprockets::|rails::|bundler::|logger::|uri::http|psych::|json_class|\"\^[ocu]\"|py/(?:reduce|function|repr|new|type|mod|object)|_cryo_|0xfunction|__proto_function__",
)
"""What is in all that `forms` finds."""


def forms(text: str, lower: str, words: int) -> Iterator[Signal]:
    """Find code by its form. Linear in the text.

    Args:
        text: a value.
        lower: the same in lower case.
        words: how many words of prose it has, up to 8; many make a quotation of what is found.
    """
    doubt = 0.45 if words >= 5 else 0.2 if words >= 3 else 0.0
    for form in _FORMS:
        if form.mark in lower:
            match = form.pattern.search(text)
            if match is not None:
                yield Signal(form.rule, Severity.CRITICAL, form.confidence - doubt, match.start(), match.end())
