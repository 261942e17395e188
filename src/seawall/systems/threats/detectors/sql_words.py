"""What SQL's dialects call things: functions and tables that an attacker needs, and objects that statements act on."""

import re
from typing import Final

__all__ = [
    "CATALOGUE",
    "GLOBALS",
    "INJECTOR_FUNCTIONS",
    "OBJECTS",
    "PACKAGES",
    "SECRETS",
    "SQL_FUNCTIONS",
    "TELLING_NAMES",
]


def words(text: str) -> frozenset[str]:
    """The words of a table of words."""
    return frozenset(text.split())


INJECTOR_FUNCTIONS: Final = words(
    # They wait or burn time.
    "get_lock release_lock is_free_lock is_used_lock master_pos_wait source_pos_wait pg_advisory_lock"
    " pg_sleep pg_sleep_for pg_sleep_until benchmark randomblob zeroblob generate_series regexp_substring"
    # Their error messages carry data.
    " extractvalue updatexml gtid_subset gtid_subtract st_latfromgeohash st_longfromgeohash"
    " st_pointfromgeohash name_const"
    " geometrycollection multipoint multilinestring multipolygon linestring make_set elt xmltype query_to_xml"
    " database_to_xml table_to_xml schema_to_xml json_storage_free procedure_analyse analyse"
    # They read or write files, reach other hosts, or run programs.
    " load_file load_extension writefile readfile pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file pg_file_write"
    " lo_import lo_export lo_from_bytea dblink dblink_connect dblink_exec httpuritype openrowset"
    " opendatasource openquery"
    " sys_eval sys_exec sys_get fn_xe_file_target_read_file fn_trace_gettable fn_get_audit_file sp_oacreate sp_oamethod"
    " bfilename"
    # They tell about the server and the account.
    " sqlite_version pg_client_encoding is_srvrolemember has_dbaccess suser_name suser_sname sys_context"
    " fn_my_permissions current_setting set_config pg_terminate_backend pg_reload_conf inet_server_addr"
    " inet_server_port has_table_privilege pg_has_role pg_current_logfile pg_logdir_ls"
    " group_concat json_arrayagg wm_concat sys.fn_varbintohexstr"
)
"""Functions that only SQL has and that only an attacker puts into a value."""

SQL_FUNCTIONS: Final = (
    words(
        "sleep ascii ord char chr nchar unichr substr substring substring_index mid left right length len char_length"
        " octet_length bit_length concat concat_ws string_agg hex unhex bin oct conv md5 sha sha1 sha2 crc32"
        " count sum min"
        " max avg cast convert try_cast try_convert if iif ifnull nullif coalesce nvl nvl2 isnull user database schema"
        " version current_user session_user system_user rand random floor ceil ceiling exp pow power round"
        " sqrt abs sign"
        " mod log ln pi lower upper lcase ucase initcap trim ltrim rtrim reverse replace repeat replicate"
        " space lpad rpad"
        " instr charindex patindex locate position strcmp field find_in_set greatest least row exists like glob quote"
        " json_keys json_length json_extract json_valid json_value json_query json_object json_array json_contains"
        " json_depth json_type to_char to_number to_date to_clob decode translate regexp_like regexp_instr"
        " regexp_replace"
        " soundex now getdate date sysdate curdate day month year db_name object_id object_name col_name host_name"
        " app_name typeof printf total changes unicode uuid newid last_insert_id row_count connection_id from_base64"
        " to_base64 compress encode crypt_key stuff str quotename choose bool_and bool_or array_agg array_to_string"
        " string_to_array unnest position inet_aton inet_ntoa aes_encrypt des_encrypt password old_password encrypt"
        " any_value std stddev variance bit_and bit_or bit_xor bit_count polygon point interval utc_date rownum"
        " table_name vsize posstr current_schema current_database to_json row_to_json xmlagg listagg rawtohex"
        " user_name user_id suser_sid is_member has_perms_by_name object_schema_name type_name"
        " cast_to_varchar2 nls_upper adddate makedate"
        " json_exists json_contains_path json_overlaps json_search json_quote json_equal json_textcontains"
        " json_array_length json_typeof json_each json_tree isjson jsonb_typeof jsonb_path_exists"
        " jsonb_path_match jsonb_path_query jsonb_exists jsonb_contains jsonb_array_length"
        " jsonb_array_elements jsonb_each jsonb_object_keys jsonb_extract_path_text to_jsonb json_build_object"
        " json_arrayagg json_objectagg json_merge json_set json_remove json_insert json_pretty json_unquote"
        " array_length array_position array_upper array_append array_cat array_to_json cardinality to_tsvector"
        " to_tsquery plainto_tsquery ts_rank starts_with likelihood unlikely is_ipv4 is_ipv6 is_uuid"
        " export_set weight_string regexp_count regexp_matches split_part overlay btrim trunc bitand"
        " datalength isnumeric isdate formatmessage parse try_parse cot radians degrees acos asin atan"
        " truncate sec_to_time time_to_sec timestampdiff datediff datename datepart dateadd sysutcdatetime"
        " getutcdate current_catalog lengthb substrb dump ora_hash to_nchar numtodsinterval st_isvalid"
        " st_astext st_asgeojson octet_length instrb"
    )
    | INJECTOR_FUNCTIONS
)
"""Functions of SQL that an injected condition is made with; other languages have some of them."""

PACKAGES: Final = re.compile(r"(?:dbms_|utl_|ctxsys|ordsys|ctx_|owa_|apex_|xp_|sp_|mdsys|lbacsys|user_lock)")
"""Beginnings of the packages whose procedures are called as `package.procedure(`."""

CATALOGUE: Final = re.compile(
    r"(?:information_schema|sysobjects|syscolumns|sysusers|syslogins|sysdatabases|sysprocesses|systypes|sysfiles"
    r"|sys(?:tables|columns|types|domains)|sys|pg_(?:catalog|class|user|shadow|authid|database|tables"
    r"|roles|proc|namespace"
    r"|attribute|type|stat_\w+|settings|stats|views|group|largeobject|description)|sqlite_(?:master|schema|temp_master)"
    r"|all_(?:tables|tab_\w+|users|objects|views|source|cons\w+)|user_(?:tables|tab_\w+|objects|users|role_privs\w*"
    r"|cons\w+|sys_privs|password\w*)|dba_\w+|v\$\w+|gv\$\w+|msysobjects|msysaccessobjects|msysqueries"
    r"|rdb\$\w+|mon\$\w+"
    r"|mysql|sysibm|syscat|sysproc|systab\w*|innodb_\w+|table_schema|schemata|dual|role_tab_privs|session_privs|master)$"
)
"""Names of catalogues, which only an attacker reads; for a whole word."""

TELLING_NAMES: Final = words(
    "user users username user_name userid user_id uname login logins passwd password passwords pass pwd email emails"
    " admin admins administrators member members account accounts customers customer_id credit_card creditcards id uid"
    " table_name column_name table_schema schema_name schemata tables columns name tablename columnname fieldname"
    " field1 col1 col2 column1 tabname colname banner dual flag flags secret secrets tbl t1 t2 mysql orders sessions"
    " products test items news wp_users user_login user_pass employees employee salary hash"
)
"""Names of columns and tables that attackers ask for first."""

SECRETS: Final = words(
    "password passwd pwd passwords user_pass user_password password_hash passhash credit_card creditcards"
    " card_number cvv ssn api_key secret secrets salt"
)
"""Names of columns that an attacker asks for and a report does not."""

GLOBALS: Final = re.compile(
    r"@@(?:version|servername|datadir|hostname|basedir|tmpdir|error|rowcount|identity|global|session|language|spid"
    r"|servicename|version_\w+|secure_file_priv|plugin_dir|user|innodb\w*|sql_mode|trancount|connections|have_\w+|port"
    r"|max_connections|langid|dbts|microsoftversion|options|procid)\b"
)
"""Variables of a server, such as its version."""

OBJECTS: Final = words(
    "table database schema view user function procedure proc index login trigger role sequence extension column"
    " tablespace rule package library event server type constraint temporary temp unique materialized"
    " assembly aggregate"
)
"""What CREATE, ALTER and DROP act on."""

VERBS: Final = words(
    "alter analyze backup begin binlog call cancel change check checkpoint close cluster comment commit copy"
    " create dbcc deallocate declare delete desc describe discard do drop exec execute explain fetch flush get"
    " goto grant handler import insert install kill listen load lock merge notify open optimize prepare print"
    " purge raiserror reconfigure refresh reindex release rename repair replace reset resignal restore revoke"
    " rollback savepoint select set show shutdown signal start stop throw truncate uninstall unlock update use"
    " vacuum xa"
)
"""What a statement of any dialect begins with."""
