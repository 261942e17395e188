import pytest
from asking import asking

from seawall.systems.threats.detectors.graphql import DETECTOR
from seawall.systems.threats.model import PlaceKind, Severity

ask = asking(DETECTOR, PlaceKind.GRAPHQL)


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ("{" + "a{" * 30 + "b" + "}" * 31, "graphql-depth"),
        ("{" + " ".join(f"a{index}: user(id: {index})" for index in range(60)) + "}", "graphql-aliases"),
        (
            'mutation {a: login(u: "x", p: "1") {t} b: login(u: "x", p: "2") {t} c: login(u: "x", p: "3") {t}}',
            "graphql-tries",
        ),
        (
            "{" + " ".join(f'c{index}: applyCoupon(code: "A{index}") {{ok}}' for index in range(3)) + "}",
            "graphql-tries",
        ),
        ("mutation {verifyOtp(code: 1) {ok}}\n" * 3, "graphql-tries"),
        ("{posts {author " * 6 + "{id}" + "}" * 12, "graphql-depth"),
        ("query @x @x @x @x @x {a}", "graphql-directives"),
        ("{a " + "@skip(if: true) " * 30 + "}", "graphql-directives"),
        ("query {...A} fragment A on X {...B} fragment B on X {...A}", "graphql-cycle"),
        ("query {...A} fragment A on X {a {...A}}", "graphql-cycle"),
        ("{" + "name " * 300 + "}", "graphql-repetition"),
        ("{a}" * 30, "graphql-operations"),
        ("{__schema {types {name}}}", "graphql-introspection"),
        ('{a: __type(name: "User") {name}}', "graphql-introspection"),
        ("query {_service {sdl}}", "graphql-introspection"),
        ("{" + " ".join(f"{name}: __typename" for name in "abcde") + "}", "graphql-aliases"),
        ("{" + "__typename " * 9 + "}", "graphql-aliases"),
        ("{__typename}\n" * 9, "graphql-aliases"),
        ("{" + " ".join(f"{name}: users {{id}}" for name in "abcdefgh") + "}", "graphql-aliases"),
        ("{" + " ".join(f"a{index}: user(id: {index}) {{password}}" for index in range(4)) + "}", "graphql-secrets"),
        (
            "{" + " ".join(f"u{index}: account(nr: {index}) {{id apiKey}}" for index in range(7)) + "}",
            "graphql-secrets",
        ),
        ('{diagnostics(user: "a", cmd: "whoami") {out}}', "graphql-command"),
        ('mutation {job(command: "cat /etc/hosts") {out}}', "graphql-command"),
        ('{users(where: {passwordHash: {_like: "a%"}}) {id}}', "graphql-guess"),
        ('{users(filter: {resetToken: {startsWith: "ab"}}) {id}}', "graphql-guess"),
    ],
)
def test_abuse_is_found(document, rule):
    assert ask(document)[0] == rule


@pytest.mark.parametrize(
    "document",
    [
        "query Q($a: Int = 1) {user(id: $a) {id name friends(first: 10) {edges {node {id __typename}}}}}",
        'mutation {a(input: {x: 1, y: [1, 2], z: "{{{{{{{{{{{{{{{{{{{{{{{{{{{{"}) {ok}}',
        "query {...A ...B} fragment A on X {a ...B} fragment B on X {c}",
        "{" + " ".join(f"field{index}" for index in range(200)) + "}",
        '{search(text: "what does __schema mean?") {id}}',
        "# __schema\n{a}",
        "{a(x: {b: 1, c: 2, d: {e: 3}})}",
        "{menu " + "{children " * 7 + "{name}" + "}" * 8,
        "{user {friends {edges {node {friends {edges {node {friends {edges {node {id}}}}}}}}}}}",
        "mutation {" + " ".join(f"a{index}: updateItem(id: {index}) {{ok}}" for index in range(9)) + "}",
        '{a: product(code: "x") {id} b: product(code: "y") {id} c: product(code: "z") {id}}',
        "{user @include(if: $a) @skip(if: $b) {id @include(if: $c)}}",
        "mutation M($u: String!, $p: String!) {login(username: $u, password: $p) {token}}",
        "query A {a {id}}\nquery B {b {id}}\nquery C {c {id}}",
        "{" + " ".join(f"r{index}: repository(id: {index}) {{id name}}" for index in range(30)) + "}",
        "{" + " ".join(f"{name}: items {{id}}" for name in "abc") + "}",
        "query {__typename viewer {__typename id}}\n" * 9,
        "{__typename}",
        "mutation {login(input: $i) {accessToken refreshToken user {id}}}",
        "{a: token(id: 1) {accessToken} b: token(id: 2) {accessToken}}",
        'mutation {build(command: "npm test", script: "lint") {id}}',
        '{users(where: {name: {_like: "a%"}, age: {_gt: 3}}) {id}}',
        'mutation {setPassword(password: "a like b") {ok}}',
        "{",
    ],
)
def test_honest_documents_pass(document):
    assert ask(document)[1] == 0.0


def test_introspection_is_acted_upon():
    signals = DETECTOR.scan(
        "query IntrospectionQuery { __schema { types { name ofType { ofType { name } } } } }", PlaceKind.GRAPHQL
    )
    assert [signal.rule for signal in signals] == ["graphql-introspection"]
    assert signals[0].severity is Severity.HIGH


def test_only_documents_are_looked_at():
    assert DETECTOR.kinds == {PlaceKind.GRAPHQL}
