import pytest
from asking import asking
from lookalikes import AMBIGUOUS, PLAIN, generated

from seawall.systems.threats.detectors.webshell import DETECTOR
from seawall.systems.threats.model import PlaceKind

ask = asking(DETECTOR)

ATTACKS = (
    "<?php system($_GET['c']); ?>",
    "<?php @eval($_POST['x']);?>",
    "<?=`$_GET[0]`?>",
    '<% Runtime.getRuntime().exec(request.getParameter("cmd")) %>',
    '<%eval request("cmd")%>',
    "<script runat=server language=\"php\">system('id')</script>",
    "/uploads/c99.php",
    "/b374k.php",
    "eval(base64_decode($_POST['z0']))",
    "assert($_REQUEST['x'])",
    "<? echo(`id`); ?>",
    "<%!class Q extends ClassLoader{Class g(byte[] b){return defineClass(b,0,b.length);}}%>",
    "GIF89a<?php $q=1; ?>",
    "auto_prepend_file=q.png",
    "php_value auto_append_file q.gif",
    "AddType application/x-httpd-php .jpg",
    "SetHandler application/x-httpd-php",
    "<FilesMatch q>\nForceType application/x-httpd-php\n</FilesMatch>",
    "Options +ExecCGI\nAddHandler cgi-script .txt",
    "q.jpg.php;.jpg",
    "/upload/q.aspx;.png",
    "avatar.png.phtml",
    "$_=[];$__=@\"$_\";$_=$__['!'=='@'];",
    "<? echo('<scr)';echo('ipt>alert(1)</script>'); ?>",
)
HONEST = (
    '<?xml version="1.0"?>',
    "<%= name %>",
    "index.php",
    "page.aspx?id=1",
    "shell script",
    "100% <b>",
    "radio.php",
    "privmsg.php",
    "execute the plan ($5)",
    "include (see below)",
    "<?php echo 'title'; ?>",
    "<?php foreach ($items as $item): ?><li><?= $item->title ?></li><?php endforeach; ?>",
    "<%Pq\x18\x9c_\x04 `x`",
    '<%#` "c>(.|&:@`',
    "shell.txt",
    "/catalogue.php;jsessionid=1A2B",
    "photo.png",
    "the handler adds a type",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_are_found(text):
    assert ask(text)[1] >= 0.85


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_let_through(text):
    assert ask(text)[1] < 0.5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<?php system($_GET['c']); ?>", "webshell-code"),
        ("/c99.php", "webshell-name"),
        ("assert($_GET[1])", "webshell-direct"),
    ],
)
def test_each_kind_of_attack_has_a_rule(text, rule):
    assert ask(text)[0] == rule


def test_honest_values_are_not_even_ambiguous():
    assert [text for text in PLAIN if ask(text)[1] >= 0.5] == []


def test_pasted_statements_stay_below_sure():
    assert [text for text in AMBIGUOUS if ask(text)[1] >= 0.9] == []


def test_generated_honest_values_are_not_suspected():
    suspected = [text for text in generated(1500, seed=4) if ask(text)[1] >= 0.7]
    assert suspected == []


def test_a_script_for_a_gateway_is_found_in_a_file():
    script = '#!/bin/sh\necho "Content-Type: text/plain"\neval "$QUERY_STRING"'
    assert asking(DETECTOR, PlaceKind.MULTIPART)(script)[1] >= 0.85
    assert asking(DETECTOR, PlaceKind.MULTIPART)("#!/bin/sh\nset -e\nnpm run build\n")[1] < 0.5


@pytest.mark.parametrize(
    "name", ["x.php", "x.php.jpg", "x.phtml", "x.asp;.jpg", "x.jsp", ".htaccess", "x.php\x00.png", "web.config"]
)
def test_scripts_are_found_by_their_file_name(name):
    assert asking(DETECTOR, PlaceKind.FILENAME)(name)[1] >= 0.85


@pytest.mark.parametrize("name", ["photo.jpg", "report.pdf", "phpbook.epub", "notes.txt", "a.tar.gz", "inc.2024.docx"])
def test_documents_are_let_through_by_their_file_name(name):
    assert asking(DETECTOR, PlaceKind.FILENAME)(name)[1] < 0.5
