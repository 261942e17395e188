"""Scanners and bots: the names that tools give themselves, the marks they leave, the paths they ask everyone for."""

import re
from collections.abc import Iterator, Sequence

from seawall.systems.threats.detector import Detector, Signal
from seawall.systems.threats.model import PlaceKind, Severity, ThreatClass

__all__ = ["DETECTOR"]

MAX_SIGNALS = 8

# Tools whose only use is to look for weaknesses.
_TOOLS = (
    "sqlmap", "nikto", "nessus", "openvas", "acunetix", "netsparker", "invicti", "wpscan", "joomscan",
    "droopescan", "dirbuster", "dirsearch", "gobuster", "feroxbuster", "ffuf", "wfuzz", "nuclei", "arachni",
    "w3af", "whatweb", "wapiti", "skipfish", "zgrab", "masscan", "nmap", "jaeles", "appscan", "webinspect",
    "qualys", "burpcollaborator", "commix", "xsser", "xsstrike", "dalfox", "tplmap", "havij", "jsql",
    "sqlninja", "bsqlbf", "absinthe", "paros", "webscarab", "zaproxy", "owasp zap", "golismero", "uniscan",
    "fimap", "dotdotpwn", "metasploit", "hydra", "brutus", "cmsmap", "wafw00f", "zmeu", "morfeus",
    "muieblackcat", "jorgee", "dfind", "w00tw00t", "blackwidow", "detectify", "rustbuster", "gospider",
    "hakrawler", "subfinder", "aquatone", "eyewitness", "fuzz faster", "prtg-exploit", "securityspider",
    "webbandit", "n-stealth", "nsauditor", "webshag", "sitelockspider", "advanced email extractor", "l9explore",
    "l9tcpid", "leakix", "projectdiscovery", "crowdsec-probe", "kali linux", "gootkit", "mirai", "keydrop",
    "wprecon", "whatcms", "searchsploit",
)  # fmt: skip
_LIBRARIES = re.compile(
    r"^(?:python-requests|python-urllib|python/\d|aiohttp|go-http-client|java/\d|libwww-perl|lwp|perl|wget|curl|php/\d|ruby|okhttp|scrapy|mechanize|winhttp|httpclient|axios|node-fetch|rest-client|guzzlehttp|http_request)",
    re.IGNORECASE | re.ASCII,
)
_NAMES = "|".join(re.escape(tool) for tool in sorted(_TOOLS, key=len, reverse=True))
_AGENT = re.compile(rf"(?<![a-z0-9-])(?:{_NAMES})(?![a-z])", re.IGNORECASE | re.ASCII)
_MARK = re.compile(
    r"acunetix[-_]wvs|acunetix_?(?:invalid|inexistent|test)|acu_nonexistent|nessus(?:_is_probing|\d*\.html|_test)|nikto-?test|netsparker(?:\d|=|-)|appscan_(?:fingerprint|delete)|wvs_test|sqlmap_?(?:test|data)|qualys-?(?:scan|test)"
    r"|w00tw00t\.at|zap:(?:xss|zap)|openvas[-_]?(?:vt|test|check)|nmaplowercheck|nmapupper|nice%20ports|trinity\.txt\.bak|vuln_?scan(?:ner)?_?test|\bcirt\.net/rfiinc|detectify-?test|burp-?collab|\.nasl\b|rapid7\.com/probe|vulnweb\.com/\S+\?test",
    re.IGNORECASE | re.ASCII,
)
# Asked for on hosts that never had them.
_PATHS = re.compile(
    r"(?:^|/)(?:\.git/(?:head|config|index|logs|refs)|\.svn/(?:entries|wc\.db)|\.hg/(?:store|hgrc)|\.bzr/|cvs/(?:root|entries)|\.env(?:\.\w{1,16})?$|\.aws/(?:credentials|config)|\.ssh/|\.docker/config|\.vscode/(?:sftp|settings|launch)\.json|\.idea/(?:workspace|webservers)"
    r"|\.ds_store$|\.htpasswd|\.htaccess$|\.npmrc$|\.bash_history$|id_(?:rsa|dsa|ed25519)$|wp-config\.php[.~\w]*|wp-content/debug\.log|(?:config|settings|database|db|configuration|local)\.(?:php|inc|yml|yaml|json|xml|py|env)(?:\.(?:bak|old|save|orig|swp|dist)|~)$"
    r"|(?:backup|dump|database|db|site|www|wwwroot|web|sql|mysql|data)\.(?:sql|zip|tar\.gz|tgz|rar|7z|bak)$|php-?my-?admin\d*(?:/|-\d)|(?:pma|myadmin|mysqladmin|dbadmin|sqladmin|phppgadmin|mysqlmanager|phpmy)/(?:index\.php|scripts/|$)|adminer(?:-\d[\d.]*)?\.php$"
    r"|vendor/phpunit/|eval-stdin\.php|phpunit\.xsd|cgi-bin/(?:[^?]{0,200}\.(?:cgi|pl|sh)|luci|test|php|status|authlogin)|boaform/|goform/|hnap1|setup\.cgi|manager/(?:html|text|status)$|host-manager/html|jmx-console|web-console/|invoker/(?:jmx|ejb)"
    r"|actuator/(?:env|heapdump|gateway|jolokia|mappings|configprops|threaddump|beans|trace|logfile|shutdown)|jolokia/|solr/admin|_ignition/execute-solution|telescope/requests|server-(?:status|info)$|phpinfo\.php|(?:php-?)?info\.php$|test\.php$|xmlrpc\.php$|wlwmanifest\.xml|wp-json/wp/v2/users|wp-admin/(?:install|setup-config)\.php"
    r"|console/(?:login/loginform\.jsp|css/|images/)|wls-wsat/|_async/asyncresponse|struts2?-showcase|axis2?/|hudson/|jenkins/script|elmah\.axd|trace\.axd|owa/auth|autodiscover/autodiscover\.(?:json|xml)|ecp/(?:current|default)|aspnet_client/|sdk/(?:webdeviceconfig|vimservice)|nmaplowercheck|evox/about|remote/(?:fgt_lang|login)|dana-na/|\+cscoe\+|\+cscot\+|vpn/\.\./|mgmt/(?:tm|shared)|tmui/login|api/jsonws|securityrealm/user|_cat/indices|_search\?|_nodes|_all_dbs|v2/_catalog|druid/index|nacos/v1|geoserver/web|portal/redlion|level/\d+/exec|device\.rsp|currentsetting\.htm|shell\.(?:php|jsp|asp)x?$|web\.config$)",
    re.IGNORECASE | re.ASCII,
)
_SURE_PATHS = re.compile(
    r"\.git/|\.svn/|\.env|\.aws|\.ssh|\.docker|eval-stdin|vendor/phpunit|boaform|hnap1|_ignition|fgt_lang|wls-wsat|heapdump|wp-config\.php[.~]|id_rsa|\.vscode/sftp|securityrealm|cscoe|cscot|jolokia|jmx-console|invoker/|goform|nmaplower|evox|level/\d+/exec|webdeviceconfig",
    re.IGNORECASE | re.ASCII,
)


def scan(text: str, kind: PlaceKind) -> Sequence[Signal]:
    """Judge one view of a value. Linear in the text."""
    signals = list(_marks(text))
    if kind == PlaceKind.HEADER:
        signals.extend(_agents(text))
    elif kind == PlaceKind.PATH:
        match = _PATHS.search(text)
        if match:
            sure = _SURE_PATHS.search(match[0]) is not None
            signals.append(
                Signal(
                    "scanner-path",
                    Severity.HIGH if sure else Severity.MEDIUM,
                    0.88 if sure else 0.6,
                    match.start(),
                    match.end(),
                )
            )
    signals.sort(key=_strength, reverse=True)
    return signals[:MAX_SIGNALS]


def _agents(text: str) -> Iterator[Signal]:
    """A tool's name as tools write it: at the start, before a version, or with its address behind a plus sign."""
    match = _AGENT.search(text)
    if match:
        after = text[match.end() : match.end() + 1]
        url = "://" in text[: match.start()]
        named = not url and (
            match.start() == 0
            or after in {"/", "_", "-", ";", ")", ""}
            or "compatible" in text
            or "scan" in text.lower()
        )
        if named:
            yield Signal("scanner-agent", Severity.HIGH, 0.93, match.start(), match.end())
    library = _LIBRARIES.match(text)
    if library:
        yield Signal("scanner-library", Severity.LOW, 0.3, library.start(), library.end())


def _marks(text: str) -> Iterator[Signal]:
    match = _MARK.search(text)
    if match:
        yield Signal("scanner-mark", Severity.HIGH, 0.9, match.start(), match.end())


def _strength(signal: Signal) -> float:
    return signal.confidence


DETECTOR = Detector(
    name="scanner",
    category=ThreatClass.SCANNER,
    owasp="A05:2021",
    triggers=(
        _NAMES,
        r"acunetix|acu_non|nessus|nikto|netsparker|appscan|wvs_test|sqlmap|qualys|w00tw00t|zap:|openvas|nmap|nice%20ports|trinity\.txt|vuln_?scan|cirt\.net|detectify|burp-?collab|\.nasl|rapid7|vulnweb",
        r"\.(?:git|svn|hg|bzr|env|aws|ssh|docker|vscode|idea|ds_store|ht|npmrc|bash_)|id_(?:rsa|dsa|ed)|cvs/|wp-(?:config|content/debug|json/wp|admin/)|\.(?:bak|old|save|orig|swp|dist)$|~$",
        r"\.(?:sql|zip|tar\.gz|tgz|rar|7z|inc)$|my-?admin|pma/|phppgadmin|adminer|phpunit|eval-stdin|cgi-bin|boaform|goform|hnap1|setup\.cgi|manager/|jmx-console|web-console|invoker/",
        r"actuator/|jolokia|solr/|_ignition|telescope|server-(?:status|info)|info\.php|test\.php|xmlrpc|wlwmanifest|console/|wls-wsat|_async|struts|axis|hudson|jenkins|\.axd|owa/|autodiscover|ecp/|aspnet_client|sdk/",
        r"evox|remote/|dana-na|\+csco|vpn/|mgmt/|tmui|jsonws|securityrealm|_cat/|_search|_nodes|_all_dbs|_catalog|druid|nacos|geoserver|portal/|level/|device\.rsp|currentsetting|shell|web\.config|(?:dbadmin|sqladmin|mysqlmanager|phpmy)/",
    ),
    scan=scan,
    kinds=frozenset(
        {PlaceKind.HEADER, PlaceKind.PATH, PlaceKind.QUERY, PlaceKind.COOKIE, PlaceKind.FORM, PlaceKind.JSON}
    ),
)
