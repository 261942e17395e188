"""Files that a stranger asks for: what is worth reading on a machine, and how telling it is to name it.

All texts here are in the one spelling that `traversal` brings them to, with "/" for every separator.
"""

import re

from seawall.systems.threats.model import PlaceKind

__all__ = ["DOCUMENTS", "Named", "globbed", "judge_file", "wanted"]

DOCUMENTS = frozenset(
    {PlaceKind.JSON, PlaceKind.XML, PlaceKind.BODY, PlaceKind.MULTIPART, PlaceKind.GRAPHQL, PlaceKind.FILENAME}
)
"""Places in which programs tell of machines: records of logs, of processes and of deployments name files honestly."""

Named = tuple[str, int, int]
"""(tier, start, end) of a file's name."""

# Tier "secret": nobody but who runs the machine has a business with these.
_SECRETS = re.compile(
    r"(?<![A-Za-z0-9])(?:etc/(?:\./)*(?:passwd|shadow|group|gshadow|hosts|issue|motd|crontab|cron\.|fstab|mtab|sudoers|ssh/|ssl/|mysql/|apache2?/|httpd/|nginx/|php|environment|hostname|resolv\.conf"
    r"|os-release|[a-z]{2,10}-release|security/|init\.d/|rc\.|profile|bash\.?bashrc|inetd|exports|ldap|samba|network|kubernetes/|shells|master\.passwd|krb5|redis/|postgresql/|tomcat)"
    r"|proc/(?:self|version|cmdline|cpuinfo|mounts|net/|\d+/|sched_debug|environ|meminfo|partitions)|root/\.|boot/(?:grub|efi|config-)|\.ssh/(?:id_|authorized|known|config)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b"
    r"|\.(?:ba|z|k|c)?sh_(?:history|profile)|\.(?:mysql|psql|rediscli|sqlite|python)_history|\.aws/(?:credentials|config)|\.azure/|\.kube/config|\.docker/config|\.git/(?:config|head|index|logs|refs|objects)|\.git-credentials"
    r"|\.svn/(?:entries|wc\.db)|\.hg/(?:store|hgrc)|\.ht(?:passwd|access)\b|\.(?:netrc|pgpass|s3cfg|my\.cnf|pypirc|viminfo|dockercfg)\b"
    r"|(?:web|meta|boot)-inf\.?/|\bwp-config\.(?:php|old|txt|bak|save|orig|inc)\b|\b(?:boot|win|system|desktop|php|my)\.ini\b(?!-)|\bautoexec\.bat\b|drivers/etc/|windows/(?:repair|panther|debug|win\.ini)|config/(?:regback/)?(?:sam|security|system|software|default)$|\bconfig\.sys\b|windows/[\w.-]{1,40}\.(?:log|txt|ini|inf)$|repair/(?:sam|system)"
    r"|\bntds\.dit\b|\bntuser\.dat\b|\b(?:pagefile|hiberfil)\.sys\b|\bunattend(?:ed)?\.(?:xml|txt)|sysprep[/.]|consolehost_history|inetpub/logs/|inetsrv/config"
    r"|\btomcat-users\.xml|conf/(?:server\.xml|httpd\.conf|web\.xml|context\.xml)|\bhttpd\.conf\b|\bapache2?\.conf\b|\bnginx\.conf\b|\bmy\.cnf\b|\bhibernate\.cfg\.xml|\bstruts(?:-config)?\.xml"
    r"|\bweb\.config\b|\bmachine\.config\b|\bapplicationhost\.config\b|\bglobal\.asax?\b|\bappsettings(?:\.\w{1,16})?\.json\b|\b(?:database|secrets|credentials|parameters)\.ya?ml\b|\bconfig\.inc\.php\b|\blocalsettings\.php\b"
    r"|(?:www|html|htdocs|public_html|wwwroot)/(?:[\w.-]{1,64}/){0,6}(?:config|configuration|settings|database|db|conn(?:ection)?)\.(?:php|inc|ya?ml|json|ini|asp)\b"
    r"|run/secrets/|var/run/docker\.sock|(?:^|/)run/docker\.sock|serviceaccount/token|dev/(?:k?mem|u?random|zero|tcp|fd/\d|stdin|sd[a-z]\d?)\b|\bcmd\.exe\b|\bsecurity/passwd\b|systemconfiguration/preferences\.plist|systemversion\.plist)",
    re.IGNORECASE | re.ASCII,
)
# Tier "system": telling where a server is asked for them, and what records of a server's life are full of.
_SYSTEM = re.compile(
    r"(?<![A-Za-z0-9])(?:var/(?:log/(?:apache|httpd|nginx|auth|syslog|messages|mail|lastlog|secure|vsftpd|xferlog|faillog|access|error|dmesg|kern|boot|mysql|wtmp|btmp|lighttpd|exim|pure-?ftpd|proftpd|postgresql|cron|ftp|daemon|debug|www|samba|redis|mongodb)|www/html/|lib/(?:mlocate|mysql|php|grafana|redis|postgresql|docker)|spool/(?:cron|mail)|mail/|backups?/|adm/|db/)|logs?/(?:(?:access|error|ssl|other)[\w.-]{0,24}[_.-]log|access_log|error_log)"
    r"|usr/local/(?:apache|etc/|php|nginx|tomcat|www)|bin/(?:sh|bash|id|ls|cat|sleep)\b|xampp/|wamp(?:64)?/|/apache/logs?/|applications/(?:xampp|mamp)/|opt/(?:lampp|xampp|tomcat|bitnami)|library/(?:webserver|preferences|logs)/"
    r"|windows/(?:system32|system|temp|php|iis|inf)|winnt/|inetpub/|system32/)",
    re.IGNORECASE | re.ASCII,
)
_ROOTED = re.compile(
    r"^[\s\"'(=]{0,3}(?:file:/*)?(?:(?:/|[a-z]:/?|%00|\x00|/\?\?/|~/)[^\s]*)$|[=:\x00]/?(?:etc|proc|windows|winnt)/",
    re.IGNORECASE | re.ASCII,
)
# What is shared with a container: a path here and a path there.
_MOUNTED = re.compile(r"^/[\w./-]{1,200}:/[\w./-]{1,200}(?::[a-z,]{2,16})?$", re.IGNORECASE | re.ASCII)
# What its owner edits in a file manager.
_OWN = re.compile(r"^\.ht(?:access|passwd)$", re.IGNORECASE)
_ASSIGNED = re.compile(r"=(?:[a-z]:)?/[^\s?&=]{0,200}$|=$", re.IGNORECASE | re.ASCII)
_DRIVE = re.compile(r"^[\s\"'(=]{0,3}(?:file:/*)?[a-z][:|]/", re.IGNORECASE | re.ASCII)
_ETC = re.compile(
    r"^[\s\"'=]{0,2}/+(?:private/|usr/local/)?etc/[\w.@~/ *?{},-]{2,200}[\"']?$", re.IGNORECASE | re.ASCII
)
_MACHINE = re.compile(
    r"^[\s\"'=]{0,2}/+(?:proc|root|boot|sys/(?:class|kernel|devices|fs|block))/[\w.]", re.IGNORECASE | re.ASCII
)
_INSTALLED = re.compile(
    r"^[\s\"'=]{0,2}/+(?:usr|opt|library|applications|system|volumes|netserver|private|var/(?!www/))/?[^\s]{1,200}$",
    re.IGNORECASE | re.ASCII,
)
# What comes with a system or is left by its programs, and is no page of anybody's.
_DELIVERED = re.compile(
    r"^[\s\"'=]{0,2}/+(?:usr/(?:share|src|lib(?:32|64|exec)?|sbin|include)/[\w.-]{1,64}/\S|tmp/(?:sess_\w{4}|php\w{6}$))\S{0,200}$",
    re.ASCII,
)
_SHORTENED = re.compile(r"/[\w$!#&@^{}-]{1,6}~\d(?:/|\.|$)", re.ASCII)
_SETTINGS = re.compile(
    r"\.(?:conf|cnf|cfg|ini|properties|key|pem|crt|p12|pfx|jks|keytab|passwd|secret|token)(?:\.\w{1,8})?[\"']?$",
    re.IGNORECASE | re.ASCII,
)
_FILE = re.compile(r"/[^/]{0,80}\w\.[a-z0-9]{1,10}[\"']?\s{0,4}$", re.IGNORECASE | re.ASCII)
_PROGRAM = re.compile(r"\.(?:exe|dll|sys|mui|ocx|cpl|msc|drv|scr|com|msi|cat)[\"']?\s{0,4}$", re.IGNORECASE | re.ASCII)
_PROGRAM_DATA = re.compile(
    r"/(?:programdata|program files(?: \(x86\))?)/[^\n]{0,200}\.(?:ini|conf|cnf|config|log|mdf|ldf|db)$",
    re.IGNORECASE | re.ASCII,
)
# What lies beside an application and is asked for by its place under the root.
_UNDER_ROOT = re.compile(
    r"^/(?:[\w.~-]{1,64}/){0,6}(?:\.env(?:\.[\w-]{1,24})?"
    r"|\.(?:git|svn|hg|bzr|cvs|idea|ssh|aws|azure|kube|docker|gnupg|terraform)/[\w./~-]{0,200}"
    r"|\.vscode/(?:sftp|settings|launch)\.json|\.(?:dockerenv|gitconfig|(?:bash|zsh)(?:rc|_profile)|profile|env~|npmrc|pypirc|netrc|pgpass|rhosts|htpasswd|htaccess|ds_store|git-credentials|remote-sync\.json|ftpconfig)"
    r"|\.[\w.-]{1,64}\.sw[opn]|[\w.-]{1,64}\.(?:key|pem|p12|pfx|jks|keytab|kdbx|ovpn)|[\w.-]{1,64}\.(?:php\d?|phtml|aspx?|jspx?|cgi|config|inc|env)(?:\.(?:bak|old|orig|save|swp|swo|tmp|copy|backup|dist|\d)|~|[_-](?:bak|old|backup))"
    r"|(?:dump|backup|db|database|mysql|mysqldump|data|site|www|sql|users?|prod(?:uction)?)\.sql\.(?:gz|zip|bz2|xz|7z|tar\.gz|tgz|rar)|(?:dump|backup|db|database|mysql(?:dump)?)\.sql|flag\.txt)$",
    re.IGNORECASE | re.ASCII,
)
_HARMLESS = re.compile(r"\.(?:example|sample|template|dist)$|\.git/?$", re.IGNORECASE | re.ASCII)
_ENDPOINT = re.compile(
    r"^/(?:[\w.-]{1,64}/){0,4}(?:actuator/(?:env|heapdump|threaddump|jolokia|gateway/\S{1,64}|configprops|mappings|logfile)|jolokia/(?:exec|read|list)\S{0,200}|v2/_catalog|_ignition/execute-solution)$",
    re.IGNORECASE | re.ASCII,
)
_GLOBBED = re.compile(r"^[\s\"'=]{0,2}(?=[^\s*?\[]{0,64}[*?\[])(?:/[^\s/]{1,24}){2,6}[\"']?$", re.ASCII)
_GLOB_SET = re.compile(r"\[!?[^\]/]{1,16}\]")
_GLOB_LETTERS = 3
_WORDS = 3
_TAIL = 12
_SHORT = 200
_FAMOUS = (
    "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/hosts", "/etc/issue", "/etc/crontab", "/etc/sudoers",
    "/etc/fstab", "/etc/profile", "/proc/self/environ", "/proc/self/cmdline", "/proc/version", "/root/.ssh/id_rsa",
    "/bin/cat", "/bin/sh", "/bin/ls", "/bin/nc", "/bin/bash", "/usr/bin/id", "/windows/win.ini",
)  # fmt: skip


def wanted(plain: str) -> Named | None:
    """Return the first file in a text that is worth reading, those that are secret before others."""
    match = _SECRETS.search(plain)
    if match:
        return "secret", match.start(), match.end()
    match = _SYSTEM.search(plain)
    return ("system", match.start(), match.end()) if match else None


def judge_file(
    text: str, plain: str, named: Named | None, kind: PlaceKind, *, whole: bool, words: int
) -> tuple[float, int, int]:
    """Return how telling it is that a text without a step up names a file, and where; 0 when it names none.

    Args:
        text: as it came.
        plain: in one spelling.
        named: what `wanted` found in it.
        kind: of the place that it is in.
        whole: whether the text is a file's name and nothing else.
        words: plain words in it, up to a limit.
    """
    if whole and not (kind in DOCUMENTS and _MOUNTED.match(plain)):
        confidence = _judge_whole(plain, named, kind)
        if confidence:
            return confidence, 0, len(plain)
    if named is None:
        return 0.0, 0, 0
    return (_judge_part(text, plain, named, kind, whole=whole, words=words), *named[1:])


def _judge_part(text: str, plain: str, named: Named, kind: PlaceKind, *, whole: bool, words: int) -> float:
    """A file's name within a text: in prose it is a mention."""
    tier, start, end = named
    confidence = 0.45 if words < _WORDS else 0.35
    if whole:
        if (tier == "system" and kind in DOCUMENTS) or _HARMLESS.search(plain):
            confidence = 0.45
        elif kind in DOCUMENTS and _MOUNTED.match(plain):
            confidence = 0.5
        elif kind == PlaceKind.FORM and _OWN.match(plain):
            confidence = 0.45
        elif (start <= 1 and end >= len(plain) - _TAIL) or _ASSIGNED.search(plain, max(0, start - _SHORT), start):
            confidence = 0.8
        elif start <= 1 and tier == "secret" and "-inf" in plain[start:end].lower():
            confidence = 0.86
        elif not text.startswith(("http:", "https:")):
            confidence = 0.7 if len(text) < _SHORT and " " not in text.strip() else 0.5
    return confidence


def _judge_whole(plain: str, named: Named | None, kind: PlaceKind) -> float:
    """A file's name as the whole of a value: where it begins at a root it is telling."""
    told = kind in DOCUMENTS
    if _DRIVE.match(plain):
        return _judge_drive(plain, named, told=told)
    if named and _ROOTED.search(plain):
        tier, _, end = named
        if tier == "system" and told:
            return 0.55
        return (
            0.6 if plain[end - 1 : end] == "/" and not plain.lstrip("\"'= ").startswith(("/", "~", "file:")) else 0.93
        )
    if _ETC.match(plain):
        return 0.86 if _SETTINGS.search(plain) else 0.55 if told else 0.82
    if _MACHINE.match(plain) or (_SETTINGS.search(plain) and _INSTALLED.match(plain)) or _DELIVERED.match(plain):
        return 0.55 if told or kind == PlaceKind.PATH else 0.82
    return _judge_under_root(plain.strip(), told=told)


def _judge_under_root(plain: str, *, told: bool) -> float:
    if _UNDER_ROOT.match(plain) and not _HARMLESS.search(plain):
        return 0.86
    return 0.8 if not told and _ENDPOINT.match(plain) else 0.0


def _judge_drive(plain: str, named: Named | None, *, told: bool) -> float:
    """A path with a drive's letter: folders and programs are what people and monitors look at, other files are not."""
    if named is None:
        return 0.8 if (_PROGRAM_DATA.search(plain) or _SHORTENED.search(plain)) and not told else 0.0
    if named[0] == "secret":
        return 0.93
    if _PROGRAM.search(plain) or not _FILE.search(plain):
        return 0.45 if told else 0.6
    return 0.55 if told else 0.86


def globbed(plain: str) -> bool:
    """Tell whether a text is a path with wildcards that a shell makes a famous file of: `/e?c/p*d`.

    Linear: each wildcard stays within a segment, of which there are six at most with 24 characters each.
    """
    if _GLOBBED.match(plain) is None:
        return False
    pattern = plain.strip("\"'= \t\r\n")
    parts = _GLOB_SET.sub("?", pattern).lower().split("/")
    if sum(map(str.isalpha, pattern)) < _GLOB_LETTERS or parts[-1] == "*":
        return False
    for famous in _FAMOUS:
        names = famous.split("/")
        if len(names) == len(parts) and all(map(_matches, names, parts)):
            return True
    return False


def _matches(name: str, pattern: str) -> bool:
    """Match a segment against one with wildcards: dynamic over at most 24 characters, so it never runs away."""
    reached = {0}
    for character in pattern:
        if character == "*":
            reached = set(range(min(reached), len(name) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(name) and character in {"?", name[at]}}
        if not reached:
            return False
    return len(name) in reached
