"""What every value contains in which there may be SQL injection, as patterns for one scan over all traffic.

Each byte of ordinary prose and JSON costs some nanoseconds here, so the patterns are chosen for what they cost where
they do not match: long literals, and nothing after `or` and `and` that stays alive past a word or two.
"""

from typing import Final

__all__ = ["TRIGGERS"]

TRIGGERS: Final = (
    # Fragments, and what is hidden.
    r"['\"`]\)[.,;()\[\]'\"`\\]{0,16}$|['\"`][.,'\"`\\]{1,8}[()][.,;()\[\]'\"`\\]{0,16}$",
    r"^\s{0,9}0x[0-9a-f]{8,800}[\s.]{0,9}$",
    r"[a-z]/\*[^*/]{0,24}\*/[a-z]|^/\*",
    r"\x0b(?:or|and|union|\|\||&&)\x0b|\x0c(?:or|and|union|\|\||&&)\x0c",
    r"(?:u|un|uni|unio)union[nio]|(?:s|se|sel|sele|selec)select[elct]|\b(?:unionunion|selectselect|aandnd|anandd|oorr)\b",
    r"u[<>]nion|un[<>]ion|uni[<>]on|unio[<>]n|s[<>]elect|se[<>]lect|sel[<>]ect|sele[<>]ct|selec[<>]t",
    # A quote and what may follow it in a query.
    (
        "(?:['\"]|\u2019|\u2018)"
        r"[\s)\x00-\x20]{0,20}(?:--|/\*|#[^'\"<>]{0,200}$|;|=|<=>|\|\||&&|!=|<>"
        r"|,\s{0,8}[\w`]{1,30}\s{0,8}=\s{0,8}['\"0-9]"
        r"|(?:[<>]=?|[|&+*/%^~,-])[\s(!~+-]{0,12}(?:['\"0-9@(]|null\b|\w{1,30}\s{0,8}\()"
        r"|(?:x?or|and|div|not|[ri]?like|regexp|glob|between|in|is|union|select|having|group|order|limit|into|where|as"
        r"|waitfor|exec|if|begin|declare|procedure|sounds|similar|minus|grant|revoke|truncate|alter|call|except|intersect|returning|on|for|lock"
        r"|collate|create|drop|insert|update|delete|shutdown|escape)\b|[0-9a-z_]{1,30}\s{0,8}(?:\(|or\b|and\b|\|\|)"
        r"|\(\s{0,9}(?:select|case))"
    ),
    r"`[\s)]{0,9}(?:(?:or|and|union|where|from|limit|order|having|group|as|in|is|like)\b|;|--|#|/\*|=|\|\||&&)",
    # A condition after a logical operator: a comparison, a call, or a constant and a comment.
    (
        r"(?:(?:^|[\s)'\"\d/!`\x00+.])(?:or|and)[\s('\"\d`/+!~@.-]|having|where|\|\||&&)\s{0,40}[^\s;<>=~]{0,80}\s{0,40}"
        r"(?:[^a-z;<>=~]{0,16}(?:[=<>~(!#]|--|/\*)|(?:not\s{1,8})?(?:r?like|between|regexp|glob|similar|div|mod)[^a-z]|in\s{0,8}\()"
    ),
    r"\d\s{0,8}(?:x?or|and)\s{0,8}[!~+-]|\bxor\b",
    r"(?:r?like|between|regexp|glob|similar)[^a-z]{1,12}['\"(0-9%@]",
    r"\sis\s{1,8}(?:not\s{1,8})?(?:null|true|false)",
    r"\d\W{1,12}(?:x?or|and)\W{1,12}(?:not\W{1,8})?(?:true|false|null)\b|\d\s{0,8}(?:\|\||&&)\s{0,8}(?:true|false|null)\b",
    r"^\W{0,9}\d{1,9}\W{0,9}(?:<=>|(?:not\s{1,9}in|between)\b|\w{1,9}\s{1,9}join\b)",
    r"::jsonb?\s{0,8}[?@#-]|^`\w{1,30}`=`",
    r"union\W{1,40}(?:all|distinct|select|values|table)|union\W{0,9}(?:/\*|--|#|\(|\{)",
    r"\b(?:except|intersect|minus)\W{1,20}(?:all\W{1,20})?select",
    r"\d(?:union|or|and|order|group|having)\b",
    r"select\W{0,16}[0-9*@'\"`(+~!-]",
    r"select\W{1,16}(?:null|true|distinct|all|top|case|\w{1,30}_user|current_\w{1,20})\b",
    r"select\W{1,16}(?:[\w.`\"\[\]]{1,40}\s{0,8},\s{0,8})*[\w.`\"\[\]]{1,40}\s{1,16}from\b",
    r"select\W{1,16}\w{1,30}\s{0,8}\(",
    r"(?:union|all|distinct)\W{1,20}select|select/\*",
    r"from\s{1,8}(?:sys|all_|user_|dba_|v\$|pg_|master\b)",
    # Statements.
    (
        r";\s{0,20}\(?(?:select|insert|update|delete|drop|create|alter|exec|declare|waitfor|shutdown|truncate|set|if|begin"
        r"|call|copy|merge|load|attach|grant|revoke|backup|use|show|do|rename|handler|prepare|while|with|iif|bulk|print"
        r"|vacuum|replace|flush|reset|kill|optimize|analyze|repair|check|purge|start|stop|lock|unlock|reindex|discard|detach"
        r"|pragma|dbcc|raiserror|throw|comment|table|values|script|runscript|savepoint|rollback|commit|reconfigure|desc"
        r"|deallocate|restore)\b"
    ),
    (
        r"^\s{0,20}(?:(?:insert|replace|merge)\W{1,16}into|delete\W{1,16}from|(?:exec|execute|grant|revoke|shutdown)\b"
        r"|(?:drop|create|alter|truncate)\W{1,16}(?:or\W|if\W|table|database|schema|view|user|function|proc|index|login"
        r"|trigger|role|rule|sequence|extension|column|tablespace|package|library|event|server|type|constraint|temp"
        r"|unique|materialized|aggregate|assembly|global)|declare\W{1,9}@|load\W{1,9}data|print\W{1,9}@"
        r"|bulk\W{1,9}insert|backup\W{1,9}(?:database|log)|attach\W{1,9}database|set\s{1,8}@|if[\s(!]{1,8}[(0-9n@e])"
    ),
    r"^\s{0,20}update\W{1,9}[\w.`\"\[\],]{1,60}\s{1,8}(?:\w{1,30}\s{1,8}){0,3}set\b",
    (
        r"^\s{0,20}(?:(?:show|flush|lock|rename|reset|unlock|optimize|purge)\s{1,9}(?:tables?|databases|columns|grants|variables"
        r"|processlist|privileges|user|master|query)\b|pragma\s{1,9}\w|handler\s{1,9}\w{1,40}\s{1,9}(?:open|read)"
        r"|copy\s{1,9}[\w.(]{1,60}\s{1,9}(?:to|from)\b|insert\s{1,9}[\w.]{1,40}\s{0,9}(?:values|\(|into)|delete\s{1,9}\*"
        r"|set\s{1,9}(?:global|session)|runscript|script\s{1,9}to|do\s{1,9}sleep)"
    ),
    # Fragments of a few tokens.
    (
        r"^[\W\d]{0,9}\d{1,9}\W{0,9}(?:(?:sounds|similar|member|rlike|regexp|ilike|glob|collate|isnull|notnull|is)\b"
        r"|(?:or|and|xor)\W{0,9}(?:\d|\b[bxn]'|_\w|interval|date|array|not\s|\w{2,12}\s?')|\|\||&&|div\b|limit\b|for\b|into\b|in\()"
    ),
    r"^\W{0,9}(?:or|and)\s{1,9}(?:not\s{1,9})?(?:true|false|null)\b|^\s{0,9}(?:order|group)\s{1,9}by\s|^\s{0,9}limit\s{1,9}\d",
    r"(?:\s|^|\d)(?:or|and)[\s(]{0,8}(?:\{|array\s?\[)|^\W{0,4}\{\s?`?\w{1,16}`?\s{1,4}[\w.]{1,16}\}",
    r"['\"`\d)]\s{0,8}(?:collate\s|isnull\b|notnull\b|member\s)",
    r"(?:or|and)\W{1,12}(?:exists|json_|array_|\w{1,30})\s{0,4}\(",
    r"\)\s{0,8}(?:or|and)\b|['\d]\),\(['\dn]",
    r"\sfrom\s{1,8}[\w.]{1,40}\s{0,8}(?:--|#|/\*)|^\W{0,4}(?:\*|null|\d{1,9})[\w,\s*]{0,40}\sfrom\s|[\w,]\s(?:desc|asc)\s{0,4}(?:--|#)|^\s{0,4}\w{1,40},[\w,]{1,60}\s{0,4}(?:--|#)",
    r"^(?:if|decode|choose|nullif|coalesce|ifnull|nvl|iif)\s?\((?:\d|null)",
    (
        r"^\d{1,9}['\"]?[\s)]{0,9}(?:\s(?:order|group)\s{1,9}by|(?:and|or)\s{1,9}\(|(?:and|or)\s{1,9}(?:not\s{1,9})?exists|/\*)"
        r"|^select\s\*$|['\"]\)?\s{1,9}(?:into|union)\s"
    ),
    (
        r"^[^\w\s]{8,24}$|^\d{1,9}(?:or|and)\d{1,9}[=<>]|^\d{1,9}\s?[-+*/]\s?[a-z_]{2,30}\(|^\W{0,9}(?:or|and)\s?\(\s?(?:exists|select)"
        r"|^\(\s?select\b|['\"]\)?\s?(?:or|and)\s{1,9}select|['\"]\)\s?,\s?(?:null|\d|')"
    ),
    r"^null\s{1,9}(?:or|and)\s|^union\s{1,9}(?:(?:all\s{1,9})?(?:select|values))",
    r"[<>]['\"]{2}|['\"]{2}[<>]|\*/$|unionselect|@@\s?[(']|\btceles\b|\bnoinu\b",
    r"\bwaitfor\b|\b(?:xp|sp)_|\b(?:outfile|dumpfile)\b|@@[a-z]",
    r"\b(?:order|group)[\s+]{1,20}by[\s+]{1,20}[0-9(]",
    (
        r"\b(?:pg_sleep|sleep|exec|execute|benchmark|extractvalue|updatexml|load_file|randomblob|generate_series|name_const|make_set"
        r"|elt|gtid_subset|char|chr|concat|concat_ws|group_concat|if|iif|ascii|substr|substring|mid|hex|unhex|version"
        r"|database|user|convert|cast|regexp_substring|lo_import|lo_export|dblink\w{0,10}|sqlite_version|xmltype)"
        r"(?:\s|/\*[\s\S]{0,40}\*/){0,8}\("
    ),
    r"\b(?:dbms|utl|ctxsys|user_lock)[_.]\w|httpuritype",
    r"\d\)*\s{0,8}(?:;|--|#|/\*)|;\s{0,8}--\s{0,8}$|\d\s{0,4}\)\s{0,4},\s{0,4}\(|\(\d{1,9}\s?=\s?\d",
    r"/\*!|\banalyse\s{0,20}\(",
    r"\bcase\b[\s\S]{0,200}\bwhen\b",
    r"information_schema|sysobjects|syscolumns|pg_catalog|sqlite_master",
)
