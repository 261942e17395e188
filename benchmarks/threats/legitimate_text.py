"""What people write and paste into fields: prose in many languages, code, queries, mark-up, logs, command lines.

Everything is composed at random from small grammars, so that a seed gives as many different texts as asked for.
"""

# ruff: noqa: E501, RUF001 - tables of texts as people write them.

import base64
import json
import random
from collections.abc import Callable
from typing import Final

__all__ = ["CODE", "QUERIES", "TEXTS", "address", "code", "host", "name", "person", "prose", "sentence", "token", "uid"]

Maker = Callable[[random.Random], str]

FIRST: Final = [
    "Ann",
    "Béla",
    "Conor",
    "Dana",
    "Émile",
    "Fatima",
    "Grzegorz",
    "Hanna",
    "Igor",
    "José",
    "Kenji",
    "Lucía",
    "Mohammed",
    "N'Golo",
    "Olga",
    "Pádraig",
    "Quinn",
    "Rosa",
    "Søren",
    "Tomáš",
    "Uma",
    "Väinö",
    "Wei",
    "Ximena",
    "Yusuf",
    "Zoë",
]
LAST: Final = (
    "O'Brien", "D'Angelo", "van 't Hoff", "de l'Isle", "O’Neill", "Müller", "Nguyễn", "Ortega y Gasset", "McDonald", "Smith-Jones", "al-Rashid",
    "Łukasz", "Ó Súilleabháin", "Dell'Acqua", "N'Diaye", "Union", "Orr", "Andersen", "Select", "Null", "Droptable", "Wang", "Иванов", "山田",
)  # fmt: skip
NOUNS: Final = [
    "order",
    "invoice",
    "committee",
    "union",
    "table",
    "report",
    "server",
    "password",
    "delivery",
    "ticket",
    "update",
    "drop-down",
    "selection",
    "menu",
    "group",
    "value",
    "account",
    "login",
    "database",
    "index",
    "script",
    "image",
    "shell",
    "command",
    "template",
    "boot",
    "dress",
    "jacket",
    "hotel",
    "flight",
    "seat",
    "room",
    "query",
    "filter",
    "column",
    "chart",
    "budget",
    "contract",
    "meeting",
    "release",
    "backup",
    "cookie",
    "browser",
    "window",
    "alert",
    "prompt",
    "event",
    "handler",
    "function",
    "object",
    "class",
    "method",
    "file",
    "path",
    "folder",
    "directory",
    "upload",
    "download",
    "link",
    "page",
    "form",
    "field",
    "button",
]
VERBS: Final = [
    "select",
    "update",
    "drop",
    "insert",
    "delete",
    "join",
    "order",
    "group",
    "create",
    "alter",
    "exec",
    "run",
    "load",
    "sleep",
    "wait",
    "cast",
    "merge",
    "call",
    "open",
    "close",
    "include",
    "require",
    "import",
    "echo",
    "print",
    "fetch",
    "grant",
    "set",
    "use",
    "show",
    "like",
    "limit",
]
GLUE: Final = [
    "the",
    "a",
    "and",
    "or",
    "not",
    "from",
    "where",
    "into",
    "by",
    "on",
    "in",
    "with",
    "as",
    "is",
    "to",
    "for",
    "of",
    "between",
    "having",
    "all",
    "any",
    "when",
    "then",
    "else",
    "like",
    "if",
    "that",
    "which",
    "while",
    "before",
    "after",
    "under",
]
ENDS: Final = (".", ".", ".", "!", "?", "...", ";", ":", " :)", " -", " --", " ;-)", "!!1")
FOREIGN: Final = (
    "L'équipe d'aujourd'hui n'a pas pu sélectionner l'option « or » ou l'argent", "Bitte wählen Sie einen Tisch aus der Liste und bestätigen Sie die Bestellung", "¿Puede usted seleccionar la tabla y borrar el pedido?",
    "Non c'è più l'ordine dell'utente nell'elenco", "Пожалуйста, выберите стол из списка и 'подтвердите' заказ", "请从列表中选择“表格”，然后删除'订单'", "テーブルを選択して「注文」を削除してください", "목록에서 '테이블'을 선택하고 주문을 삭제하세요",
    "يرجى اختيار الجدول من القائمة ثم 'حذف' الطلب", "אנא בחר טבלה מהרשימה ומחק את ההזמנה", "कृपया सूची से 'तालिका' चुनें", "Lütfen listeden tabloyu seçin ve siparişi silin", "Proszę wybrać tabelę z listy i usunąć zamówienie",
    "Vui lòng chọn bảng từ danh sách", "กรุณาเลือกตารางจากรายการ", "Παρακαλώ επιλέξτε 'τραπέζι' από τη λίστα", "Qu'est-ce qu'il y a d'autre? L'union fait la force!", "Zo'n foto's van 's-Hertogenbosch en 't Gooi",
    "Hãy l\u2019été d\u2019ici", "ça m'a coûté 10 000 € & c'est l'or noir", "e\u0301te\u0301 zero\u200bwidth\u200djoiner \ufeffbom", "👩‍👩‍👧‍👦 family & 🏳️‍🌈 flags '❤️'", "½ cup — 20° C ± 5 %", "№ 5 & № 6 «ёлочки»",
)  # fmt: skip
IDS: Final = [
    "user",
    "users",
    "id",
    "name",
    "email",
    "status",
    "created_at",
    "price",
    "qty",
    "total",
    "orders",
    "items",
    "customer_id",
    "title",
    "amount",
    "role",
    "t1",
    "a",
    "b",
    "x",
    "y",
    "data",
    "result",
    "row",
]
HOSTS: Final = [
    "www.example.com",
    "shop.example.org",
    "api.example.net",
    "cdn.example.com",
    "docs.example.io",
    "example.de",
    "blog.example.co.uk",
    "en.wiki.example",
    "accounts.example.com",
]


def uid(draw: random.Random) -> str:
    """Return a UUID."""
    digits = f"{draw.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def token(draw: random.Random, least: int = 8, most: int = 60) -> str:
    """Return random bytes in base64url."""
    return base64.urlsafe_b64encode(draw.randbytes(draw.randint(least, most))).decode().rstrip("=")


def host(draw: random.Random) -> str:
    """Return a public host."""
    return draw.choice(HOSTS)


def person(draw: random.Random) -> str:
    """Return a person's name."""
    return f"{draw.choice(FIRST)} {draw.choice(LAST)}"


def name(draw: random.Random) -> str:
    """Return an identifier of a program."""
    return draw.choice(
        (*IDS, draw.choice(VERBS) + draw.choice(NOUNS).replace("-", "").title(), draw.choice(NOUNS).replace("-", "_"))
    )


def sentence(draw: random.Random) -> str:
    """Return some words, many of them those of SQL and of programs, with a person's punctuation."""
    pools = (NOUNS, NOUNS, GLUE, GLUE, VERBS)
    words = [draw.choice(draw.choice(pools)) for _ in range(draw.randint(3, 16))]
    for _ in range(draw.randint(0, 3)):
        at = draw.randrange(len(words))
        words[at] = draw.choice((
            "I'm", "don't", "it's", "users'", "John's", f"'{words[at]}'", f'"{words[at]}"', f"({words[at]})", f"{words[at]},", f"{words[at]}/{draw.choice(NOUNS)}", "&", "-", "50%", f"#{draw.randint(1, 999)}",
            f"${draw.randint(1, 99)}", "24/7", "e.g.", "C++", "<3", "=>", "->", ">= 5", "1 = 1", "*not*", "R&D", f"[{words[at]}]", f"{words[at]}'s", person(draw), "10' x 12'", "a; b", "|", "/* sic */",
        ))  # fmt: skip
    return " ".join(words).capitalize() + draw.choice(ENDS)


def prose(draw: random.Random) -> str:
    """Return one to six sentences, now and then in another language."""
    made = [draw.choice(FOREIGN) if draw.random() < 0.15 else sentence(draw) for _ in range(draw.randint(1, 6))]
    return draw.choice((" ", " ", "\n", "\n\n", "\r\n")).join(made)


def path(draw: random.Random) -> str:
    parts = [name(draw) for _ in range(draw.randint(1, 4))]
    ext = draw.choice(("", ".py", ".php", ".log", ".sql", ".html", ".js", ".conf", ".pdf", ".tar.gz", ".docx"))
    return draw.choice((
        "/" + "/".join(parts) + ext, "./" + "/".join(parts) + ext, "../" + "/".join(parts) + ext, "C:\\Users\\" + "\\".join(parts) + ext, "D:\\" + "\\".join(parts) + ext, "~/" + "/".join(parts) + ext,
        "\\\\fileserver\\share\\" + "\\".join(parts) + ext, "file-" + "-".join(parts) + ext, "/var/www/" + "/".join(parts) + ext, "/home/" + "/".join(parts) + ext, "src/" + "/".join(parts) + ext, "node_modules/" + "/".join(parts) + ext,
    ))  # fmt: skip


def address(draw: random.Random) -> str:
    """Return a public URL."""
    query = "&".join(
        f"{name(draw)}={draw.choice((token(draw), '1', 'a+b', 'caf%C3%A9', name(draw), 'x%20y', 'a%26b', 'O%27Brien'))}"
        for _ in range(draw.randint(0, 4))
    )
    return (
        f"https://{host(draw)}/{'/'.join(name(draw) for _ in range(draw.randint(0, 4)))}"
        + (f"?{query}" if query else "")
        + draw.choice(("", "", "#top", "#/route?x=1", "#:~:text=some%20words"))
    )


def condition(draw: random.Random) -> str:
    left = draw.choice(IDS)
    return draw.choice(
        (
            f"{left} = {draw.randint(1, 99)}",
            f"{left} = '{draw.choice(NOUNS)}'",
            f"{left} LIKE '%{draw.choice(NOUNS)}%'",
            f"{left} IN (1, 2, 3)",
            f"{left} IS NOT NULL",
            f"{left} > {draw.randint(1, 9)}",
            f"a.{left} = b.{left}",
            f"{left} BETWEEN 1 AND 5",
        )
    )


def sql(draw: random.Random) -> str:
    table, fields = draw.choice(NOUNS).replace("-", "_"), ", ".join(draw.sample(IDS, draw.randint(1, 4)))
    where = draw.choice(
        (
            "",
            f" WHERE {condition(draw)}",
            f" WHERE {condition(draw)} AND {condition(draw)}",
            f" WHERE {condition(draw)} OR {condition(draw)}",
        )
    )
    made = draw.choice((
        f"SELECT {fields} FROM {table}{where}", f"SELECT * FROM {table}{where} ORDER BY {draw.choice(IDS)} DESC LIMIT 10", f"SELECT COUNT(*) FROM {table}{where} GROUP BY {draw.choice(IDS)} HAVING COUNT(*) > 1",
        f"INSERT INTO {table} ({fields}) VALUES (1, 'x')", f"UPDATE {table} SET {draw.choice(IDS)} = 'y'{where}", f"DELETE FROM {table}{where}", f"CREATE TABLE {table} (id INT PRIMARY KEY, name VARCHAR(255) NOT NULL)", f"DROP TABLE IF EXISTS {table}",
        f"SELECT a.id, b.name FROM {table} a LEFT JOIN users b ON a.id = b.a_id{where}", f"SELECT name FROM a UNION ALL SELECT name FROM {table}", f"ALTER TABLE {table} ADD COLUMN note TEXT", f"WITH c AS (SELECT 1 AS n) SELECT * FROM c, {table}",
        f"SELECT CASE WHEN {condition(draw)} THEN 'yes' ELSE 'no' END FROM {table}", f"EXPLAIN ANALYZE SELECT * FROM {table}{where}", "SELECT CONCAT(first, ' ', last) AS full_name FROM people",
    ))  # fmt: skip
    return draw.choice(
        (
            made,
            made + ";",
            made.lower(),
            made.replace(" FROM", "\nFROM").replace(" WHERE", "\nWHERE") + ";",
            made + "; -- slow\n" + made,
        )
    )


def shell(draw: random.Random) -> str:
    pack = draw.choice(NOUNS)
    return draw.choice((
        f"npm install --save {pack} && npm run build", f"pip install {pack}; python main.py", f"cd {path(draw)} && ls -la", f"docker run -d -p 8080:80 --name {pack} nginx:latest", f'git commit -m "{sentence(draw)}" && git push', f"curl -X POST https://{host(draw)}/v1 -H 'Content-Type: application/json' -d '{{\"a\": 1}}'",
        f"grep -rn '{pack}' src | sort | uniq -c | head", f"ssh deploy@{host(draw)} 'systemctl restart {pack}'", f"kubectl get pods -n {pack} | grep Error", f"tail -f /var/log/nginx/error.log | grep {pack}", f"find . -name '*.{pack}' -exec rm {{}} \\;", "export PATH=$PATH:/usr/local/bin; echo $HOME", f"sudo apt-get update && sudo apt-get install -y {pack}",
        f"cat {pack}.txt | wc -l", f"ping -c 4 {host(draw)}", 'for f in *.txt; do echo "$f"; done', f"PS C:\\> Get-ChildItem -Path {path(draw)} | Where-Object {{ $_.Length -gt 1MB }}", f"chmod +x {pack}.sh; ./{pack}.sh > out.log 2>&1 &", f"wget https://{host(draw)}/{pack}.tar.gz -O - | tar xz", "ipconfig /flushdns && ipconfig /all", "$(date +%F) `hostname`",
    ))  # fmt: skip


def javascript(draw: random.Random) -> str:
    a, b = name(draw), name(draw)
    return draw.choice((
        f"const {a} = await fetch('/api/{b}').then(r => r.json());", f"document.getElementById('{a}').innerHTML = {b};", f"window.addEventListener('load', () => {{ console.log('{a}'); }});", f"if ({a} === null || {b} === undefined) {{ return; }}", f"alert('{sentence(draw)}');",
        f"$('#{a}').on('click', function(e) {{ e.preventDefault(); {b}(); }});", f"setTimeout(() => {b}(), 1000);", f'export default function {a}({{ {b} }}) {{ return <div className="{a}">{{{b}}}</div>; }}', f"import {{ {a} }} from './{b}';", f"const x = `${{{a}}}-${{{b}}}`;", f"module.exports = {{ {a}, {b} }};", f"JSON.parse(localStorage.getItem('{a}') || '{{}}')",
        f"{a}.prototype.{b} = function () {{ return this.{b}; }};", f"const {a} = require('{b}');", f"let url = 'https://{host(draw)}/?{a}=' + encodeURIComponent({b});", f"window.location.href = '/{a}?id=' + {b};", f"try {{ {a}(); }} catch (e) {{ console.error(e); }}", f"var {a} = function() {{ eval({b}) }}; // bad",
    ))  # fmt: skip


def php(draw: random.Random) -> str:
    a, b = name(draw), name(draw)
    return draw.choice((
        f"<?php echo '{a}'; ?>", f"<?php\n$result = mysqli_query($conn, \"{sql(draw)}\");\nwhile ($row = mysqli_fetch_assoc($result)) {{ echo $row['{a}']; }}\n?>", f"<?php foreach ($items as $item): ?><li><?= $item->{a} ?></li><?php endforeach; ?>", f"$this->{a}->where('{b}', '=', $id)->get();",
        f"$stmt = $pdo->prepare('{sql(draw)}'); $stmt->execute([$id]);", f"public function {a}(Request $request) {{ return view('{b}'); }}", f"if (isset($_POST['{a}'])) {{ ${b} = htmlspecialchars($_POST['{a}']); }}", f"include 'includes/{a}.php'; require_once(__DIR__ . '/{b}.php');",
    ))  # fmt: skip


def python(draw: random.Random) -> str:
    a, b = name(draw), name(draw)
    return draw.choice((
        f"def {a}({b}):\n    return {b} or 'default'", "import os\nimport subprocess\nfor f in os.listdir('.'):\n    print(f)", f'cursor.execute("{sql(draw)}")', f"with open('{path(draw)}') as f:\n    {a} = json.load(f)", f"df[df['{a}'] > 5].groupby('{b}').sum()", f"{a} = [x for x in {b} if x is not None and x != '']", "if __name__ == '__main__':\n    main()",
        f"class {a.title()}(models.Model):\n    {b} = models.CharField(max_length=255)", f"logger.info('{a} %s', {b})", f"os.environ['{a.upper()}'] = \"1\"", f'print(f"{{{a}}} and {{{b}}}")', "subprocess.run(['ls', '-la'], check=True)",
    ))  # fmt: skip


def java(draw: random.Random) -> str:
    a, b = name(draw), name(draw)
    return draw.choice((
        f'System.out.println("{a}: " + {b});', f"public class {a.title()} extends {b.title()} implements Runnable {{ }}", f'@GetMapping("/{a}/{{id}}") public ResponseEntity<List<{b.title()}>> get(@PathVariable Long id) {{ return ResponseEntity.ok(service.find(id)); }}', f'log.error("Failed {{}}", {a}, e);', "Thread.sleep(1000);", f"List<String> {a} = new ArrayList<>();",
        f'#include <stdio.h>\nint main(void) {{ printf("%d\\n", {a}); return 0; }}', f"std::vector<int> {a}; for (auto& x : {a}) std::cout << x << std::endl;", f"var {a} = await _db.{b}.Where(x => x.Id == id).FirstOrDefaultAsync();", f'func main() {{ fmt.Println("{a}") }}', f"fn {a}(x: &str) -> Result<(), Error> {{ Ok(()) }}", f'puts "#{{{a}}}" if {b}.nil?', f"${{{a}.{b}:default}}", f'@Value("${{{a}.{b}}}") private String {a};',
    ))  # fmt: skip


def css(draw: random.Random) -> str:
    return draw.choice((
        f".{name(draw)} {{ background: url('/img/{name(draw)}.png') no-repeat; content: '\\201C'; }}", "@media (max-width: 600px) { .a > .b:not(:hover) { display: none !important } }", "@import url('https://fonts.googleapis.com/css2?family=Roboto:wght@400;700&display=swap');", f"#{name(draw)} a:hover::after {{ filter: alpha(opacity=50); transform: translate(-50%, 0) }}", "/* theme */ :root { --main: #fff; --pad: calc(1rem + 2px); }",
    ))  # fmt: skip


def config(draw: random.Random) -> str:
    a = name(draw)
    return draw.choice((
        f"{a.upper()}=${{{name(draw).upper()}:-default}}", "server { listen 80; location / { proxy_pass http://backend; } }", f"spring.datasource.url=jdbc:mysql://localhost:3306/{a}?useSSL=false", f'{a}:\n  image: nginx\n  command: ["sh", "-c", "echo hello"]\n  env:\n    - name: X\n      value: "{{{{ .Values.{a} }}}}"', f"*/5 * * * * /usr/bin/php /var/www/{a}.php > /dev/null 2>&1", f"0 3 * * 1-5 {path(draw)}",
        f"Host: {a}.internal:8080", "RewriteRule ^(.*)$ index.php?q=$1 [L,QSA]", f"<VirtualHost *:80>\nDocumentRoot /var/www/{a}\n</VirtualHost>", f"${{{{ secrets.{a.upper()} }}}}", f"- run: make {a} && ./deploy.sh", f"{a} ~> 2.0", "redis://:pw@localhost:6379/0", f'{{{{ include "{a}.labels" . | nindent 4 }}}}',
    ))  # fmt: skip


def regex(draw: random.Random) -> str:
    return draw.choice((r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z]{2,}$", r"(?:\d{3}[-. ]?)?\d{3}-\d{4}", r"/^<([a-z]+)([^<]+)*(?:>(.*)<\/\1>|\s+\/>)$/", r"^(?=.*[A-Z])(?=.*\d).{8,}$", r"s/'//g; s/\"/\\\"/g", r"\b(select|union|from)\b", r"[^\x00-\x7F]+", r"^(\.\.\/)+", r"'([^'\\]|\\.)*'", r"(foo|bar)*?;$", r"^/api/(v1|v2)/users/(\d+)/?$"))  # fmt: skip


def maths(draw: random.Random) -> str:
    a, b = draw.randint(0, 99), draw.randint(1, 99)
    return draw.choice((
        rf"\frac{{{a}}}{{{b}}} \leq \sum_{{i=1}}^{{n}} x_i^2", f"{a}*{b}={a * b}", f"x > {a} and x < {b}", f"f'(x) = {a}x and f''(x) = {b}", "$$\\int_0^1 x\\,dx = \\tfrac{1}{2}$$", "P(A|B) = P(B|A)P(A)/P(B)", f"{a}+{b}", f"({a}-{b})/({b}+1)", f"if n={a} or n={b} then", f"={{=SUM(A1:A{b})}}", f'=IF(A{a}="x","y","")', f"=VLOOKUP(A2,Sheet2!$A$1:$B${b},2,FALSE)",
        r"\begin{align} a &= b \\ c &= d \end{align}", f"1 or {a}", f"{a}||{b}", "a && b || !c", f"{a}' {b}\"", f"5'-{b}\"", "(p ∧ q) ∨ ¬r",
    ))  # fmt: skip


def markup(draw: random.Random) -> str:
    """Rich text as editors send it."""
    a, b = sentence(draw), sentence(draw)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + draw.randbytes(40)).decode()
    return draw.choice((
        f"<p>{a}</p><p>{b}&nbsp;</p>", f'<p style="text-align: center; color: rgb(0, 0, 0);"><strong>{a}</strong></p>', f'<table class="wp-table" border="1"><tbody><tr><td style="width:50%">{a}</td><td>{b}</td></tr></tbody></table>', f"<div class=\"row\" data-id=\"{uid(draw)}\"><h2 id='x'>{a}</h2><br /><hr/></div>",
        f'<p><img src="data:image/png;base64,{picture}" alt="{name(draw)}" width="100" style="max-width:100%"></p>', f'<figure class="image"><img src="{address(draw)}" srcset="{address(draw)} 2x"><figcaption>{a}</figcaption></figure>', f'<a href="{address(draw)}" target="_blank" rel="noopener noreferrer">{b}</a>', f"<ul><li>{a}</li><li><em>{b}</em></li></ul><blockquote>{a}</blockquote>",
        f'<!-- wp:paragraph {{"align":"center"}} --><p class="has-text-align-center">{a}</p><!-- /wp:paragraph -->', f"<p>Hello {{{{first_name}}}}, {a}</p><p>{{% if user %}}{b}{{% endif %}}</p>", f'<pre><code class="language-sql">{sql(draw)}</code></pre><p>{a}</p>', f"<pre class=\"ql-syntax\" spellcheck=\"false\">{code(draw).replace('<', '&lt;')}</pre>", f'<span style="font-family:&quot;Times New Roman&quot;,serif">{a}</span>',
        f'<iframe width="560" height="315" src="https://www.youtube.com/embed/{token(draw, 8, 8)}" frameborder="0" allowfullscreen></iframe><p>{a}</p>', f"<style>.x {{ color: red; }}</style><div class='x'>{a}</div>", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M12 2L2 7l10 5 10-5-10-5z" fill="none"/></svg>', f'<center><font size="2" face="Arial">{a}</font></center>', f'<a href="mailto:{name(draw)}@example.com?subject=Hi">mail</a>',
        f"<math><mi>x</mi><mo>=</mo><mn>1</mn></math><p>{b}</p>", f'<video controls src="{address(draw)}"></video>', f'<input type="checkbox" checked disabled> {a}', f"<p>{a}</p><o:p></o:p><p class=MsoNormal><span lang=EN-US>{b}</span></p>", f'<button type="button" class="btn btn-primary">{a}</button>', f"<details><summary>{a}</summary>{b}</details>",
    ))  # fmt: skip


def code(draw: random.Random) -> str:
    """Return a piece of code in one of many languages."""
    return draw.choice(CODE)(draw)


def markdown(draw: random.Random) -> str:
    language, make = draw.choice(
        (
            ("sql", sql),
            ("bash", shell),
            ("js", javascript),
            ("php", php),
            ("python", python),
            ("java", java),
            ("html", markup),
            ("css", css),
            ("yaml", config),
            ("", code),
        )
    )
    return f"# {sentence(draw)}\n\n{prose(draw)}\n\n```{language}\n{make(draw)}\n```\n\n- {sentence(draw)}\n- `{make(draw)}`\n\n[{name(draw)}]({address(draw)}) ![img]({address(draw)})\n\n> {sentence(draw)}\n"


def ticket(draw: random.Random) -> str:
    """A request for help with code or a command line pasted between sentences."""
    opening = draw.choice(
        (
            "Hi team,",
            "Hello,",
            "Problem:",
            "Steps to reproduce:",
            "Since the update it's broken:",
            "Dear support,",
            "When I run this I get an error:",
        )
    )
    return f"{opening}\n{prose(draw)}\n\n{draw.choice((code, code, log, path, config))(draw)}\n\n{sentence(draw)}\n{draw.choice(('Thanks', '-- ', 'Regards,', 'KR'))} {person(draw)}"


def log(draw: random.Random) -> str:
    a, b = name(draw), name(draw)
    return draw.choice((
        f"Traceback (most recent call last):\n  File \"/usr/lib/python3/dist-packages/{a}.py\", line {draw.randint(1, 999)}, in <module>\n    {b}()\nKeyError: '{a}'", f"TypeError: Cannot read properties of undefined (reading '{a}')\n    at {b} (https://{host(draw)}/static/js/main.{token(draw, 5, 5)}.js:2:{draw.randint(1, 99999)})\n    at Array.map (<anonymous>)\n    at eval (eval at <anonymous> (webpack:///./src/{a}.js))",
        f"java.lang.IllegalStateException: {a} at com.example.{b}.Main.run(Main.java:42)\n\tat java.base/java.lang.Thread.run(Thread.java:829)\nCaused by: java.sql.SQLException: ORA-00933: SQL command not properly ended", f'[{draw.randint(1, 28)}/Nov/2024:10:00:00 +0000] "GET /{a}?{b}=1 HTTP/1.1" 200 512 "-" "curl/8.0"', f'ERROR: syntax error at or near "{a}" LINE 1: {sql(draw)}', f"PHP Fatal error:  Uncaught Error: Call to undefined function {a}() in /var/www/html/{b}.php:10",
        f"Nov 12 10:00:00 web1 sshd[{draw.randint(1, 9999)}]: Failed password for invalid user {a} from 10.0.0.{draw.randint(1, 254)} port 22 ssh2", f"panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.{a}(0xc000010000)\n\t/go/src/{b}/main.go:12 +0x1d", f"ReferenceError: {a} is not defined at HTMLButtonElement.onclick ((index):{draw.randint(1, 99)})", f"Script error. {a} <https://{host(draw)}/app.js>", f"{a}=1 {b}=\"{sentence(draw)}\" level=info msg='{sentence(draw)}' ip=192.168.1.{draw.randint(1, 254)}",
        "System.Data.SqlClient.SqlException (0x80131904): Incorrect syntax near the keyword 'FROM'.\r\n   at System.Data.SqlClient.SqlConnection.OnError(SqlException exception)", f"Error: ENOENT: no such file or directory, open '/app/{a}/package.json'", "Refused to execute inline script because it violates the following Content Security Policy directive: \"script-src 'self'\"",
    ))  # fmt: skip


def query_text(draw: random.Random) -> str:
    """Query languages of trackers, search engines, monitoring and APIs."""
    a, b, n = draw.choice(NOUNS), draw.choice(NOUNS), draw.randint(1, 99)
    return draw.choice((
        f'project = {a.upper()} AND status in (Open, "In Progress") AND assignee = currentUser() ORDER BY created DESC', f"assignee = '{b}' and resolution is EMPTY or labels not in ({a})", f'title:"{a} {b}"~2 AND (status:open OR status:new) AND NOT tag:[{n} TO *]', f'{a}:* AND -{b}:"x y" +must^2', f"Heartbeat | where TimeGenerated > ago(1h) | summarize count() by {a} | order by count_ desc",
        f'sum(rate(http_requests_total{{job="{a}",code=~"5.."}}[5m])) by (instance) / 2 > 0.{n}', f"avg:system.cpu.user{{host:{a},env:prod}} by {{host}}.rollup(avg, 60)", f'service:{a} @http.status_code:>=500 -@usr.id:{n} "{b}"', f'{{app="{a}"}} |= "error" != "timeout" | json | line_format "{{{{.msg}}}}"', f"index={a} sourcetype=access_* | stats count by {b} | where count > {n}",
        f"Name eq '{person(draw).replace(chr(39), chr(39) * 2)}' and Price lt {n}", f"contains(tolower(Title),'{a}') or startswith({b.title().replace('-', '')},'x')", f"Orders/any(o: o/Total gt {n}) and not endswith(Name,'s')", f'is:open is:issue author:{a} label:"{b} fix" sort:updated-desc', f"from:{a}@example.com has:attachment -label:{b} after:2024/01/01", f'site:{host(draw)} "{a}" OR inurl:{b}', f"fields @timestamp, @message | filter @message like /{a}/ | sort @timestamp desc | limit {n}",
        f"SELECT Id, Name FROM Account WHERE Name LIKE '{a}%' LIMIT {n}", f'from(bucket: "{a}") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "{b}")', f"price:{n}..{n + 9};brand:{a}|{b};sort:-date", f"$.{a}[?(@.price < {n})].{b}", f"(&(objectClass=person)(cn={a}))", f".{a}[] | select(.{b} > {n}) | {{name, id}}", f"//div[@class='{a}']/span[{n}]", f"*{a}* -{b} filetype:pdf", f"{a}>={n}&&{b}<{n}", f'{{"{a}":{{"$in":["x","y"]}},"price":{{"$gte":{n}}}}}',
    ))  # fmt: skip


def phone(draw: random.Random) -> str:
    return draw.choice(
        (
            f"+49 (0) 30 / {draw.randint(1000, 9999999)}-0",
            f"(555) {draw.randint(100, 999)}-{draw.randint(1000, 9999)} x12",
            f"+1-{draw.randint(200, 999)}-555-0100",
            f"0{draw.randint(10, 99)} {draw.randint(10, 99)} {draw.randint(10, 99)} 11;ext=5",
        )
    )


def postal(draw: random.Random) -> str:
    return f"{draw.choice(('C/ d', 'Rue de l', 'Via dell', 'Corner of 5th & '))}'{draw.choice(NOUNS).title()}, {draw.randint(1, 200)}, {draw.randint(1, 9)}º {draw.choice('ABC')} -- c/o {person(draw)}; #{draw.randint(1, 99)}"


def row(draw: random.Random) -> str:
    return draw.choice((",", ";", "\t", "|")).join(
        draw.choice(("{}", '"{}"', "'{}'", "{}")).format(draw.choice((sentence, name, person))(draw))
        for _ in range(draw.randint(2, 7))
    )


def json_text(draw: random.Random) -> str:
    return json.dumps(
        {
            name(draw): draw.choice(
                (sentence(draw), draw.randint(0, 99), None, [name(draw)], {name(draw): person(draw)})
            )
            for _ in range(draw.randint(1, 5))
        },
        ensure_ascii=draw.random() < 0.5,
    )


CODE: Final[tuple[Maker, ...]] = (sql, shell, javascript, php, python, java, css, config, regex)
QUERIES: Final[tuple[Maker, ...]] = (query_text,)
TEXTS: Final[dict[str, Maker]] = {
    "prose": prose, "foreign": lambda draw: draw.choice(FOREIGN), "person": person, "postal": postal, "phone": phone, "maths": maths, "markup": markup, "markdown": markdown, "ticket": ticket, "log": log, "query": query_text,
    "path": path, "row": row, "json": json_text, "regex": regex,
}  # fmt: skip
"""What fields hold, by kind; code stands in tickets, Markdown and editors only."""
