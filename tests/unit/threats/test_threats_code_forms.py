"""Code that tells by its form, objects behind compression, and scripts of other languages."""

import base64
import gzip
import pickle
import zlib

import pytest
from asking import asking

from seawall.systems.threats.detectors import code, webshell
from seawall.systems.threats.model import PlaceKind

ask = asking(code.DETECTOR)
ask_file = asking(webshell.DETECTOR, PlaceKind.MULTIPART)
ask_cookie = asking(webshell.DETECTOR, PlaceKind.COOKIE)
ask_form = asking(webshell.DETECTOR, PlaceKind.FORM)


def packed(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


ATTACKS = (
    *("usort($q,'system')", "array_map('exec',$q)", "ob_start('passthru')", "register_shutdown_function('phpinfo')"),
    *("set_error_handler('assert')", "new ReflectionFunction('system')", "iterator_apply($q,'system',$w)"),
    *("var_dump(getenv())", "print_r(get_defined_vars())", "echo getcwd()", "die(php_uname())", "print(scandir('.'))"),
    *("$GLOBALS['_GET']", '${"_GET"}', "$_=('a'^'b');", "${$_}[q]", "$$_", "posix_uname()", "ini_get_all()"),
    *(
        "help().__class__",
        "''.__class__",
        "[].__class__.__mro__",
        "request.__class__",
        "globals()['q']",
        "breakpoint()",
    ),
    *("getattr(q,'__class__')", "java.lang.AutoCloseable", "java.net.InetSocketAddress", "javax.swing.JEditorPane"),
    *("org.apache.commons.io.input.BOMInputStream", "com.mchange.v2.c3p0.JndiRefForwardingDataSource"),
    *("System.Windows.Application, PresentationFramework", "System.Diagnostics.Process, System"),
    *("!<!System.Diagnostics.Process> {a: b}", "!!System.Windows.Data.ObjectDataProvider {}", "!javax.script.Q [a]"),
    *("clr-namespace:System.Diagnostics;assembly=system", "Gem::Resolver::InstallerSet", '{"^o":"Q"}', "py/reduce"),
    *('{"py/object":"q.W"}', '{"json_class":"Q"}', packed(gzip.compress(b"\xac\xed\x00\x05sr\x00\x01q" * 3))),
    packed(zlib.compress(b"\x80\x04\x95" + b"q" * 40)),
    packed(zlib.compress(b'O:4:"User":0:{}' + b"q" * 30)),
    packed(pickle.dumps({"admin": True, "name": "someone"}, 3)),
    packed(b"\xff\x01\x32\x94\x05\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01" + b"\x00" * 12),
)
HONEST = (
    *("java.lang.NullPointerException", "org.springframework.boot.SpringApplication", "com.sun.star.uno", "$_id"),
    *("System.String", "System.Collections.Generic.List`1[[System.String, mscorlib]], mscorlib", "array_map", "usort"),
    *("self.__class__.__name__", "class Gem", "py/test", "get_user(id)", "Rails", packed(gzip.compress(b"hello" * 9))),
    *(packed(zlib.compress(b'{"user": 5, "cart": [1, 2, 3]}' * 2)), "${price}", "echo location", "^Order"),
)


@pytest.mark.parametrize("text", ATTACKS)
def test_forms_of_code_and_objects_are_found(text):
    assert ask(text)[1] >= 0.75


@pytest.mark.parametrize("text", HONEST)
def test_honest_names_and_packed_values_are_let_through(text):
    assert ask(text)[1] < 0.6


@pytest.mark.parametrize(
    "text",
    [
        "import os,cgi\nprint(os.popen(cgi.FieldStorage().getvalue('q')).read())",
        "get('/') { `#{params[:q]}` }",
        "require('child_process').exec(req.query.q)",
        "local p = io.popen(ngx.var.arg_q)",
        "use CGI; my $q = CGI->new; system($q->param('c'));",
        "params.q.execute().text",
        'exec.Command("sh", "-c", r.URL.Query().Get("q"))',
    ],
)
def test_scripts_of_other_languages_are_found_in_uploads(text):
    assert ask_file(text)[1] >= 0.75


@pytest.mark.parametrize("text", ["<?php echo md5('q');unlink(__FILE__);?>", "<?php die(md5(7)); ?>"])
def test_pages_that_prove_that_they_run(text):
    assert ask_cookie(text)[1] >= 0.75


def test_scripts_that_pass_for_images():
    assert ask_form("q.php.jpg")[1] >= 0.75
    assert ask_form("q.jpg")[1] < 0.5
    assert ask_form("notes.php.txt")[1] < 0.75
