import pytest

from seawall.core.paths import compared_path


@pytest.mark.parametrize(
    ("path", "compared"),
    [
        ("/login", "/login"),
        ("/login/", "/login/"),
        ("/login;a=1", "/login"),
        ("/login;", "/login"),
        ("/login/;a", "/login/"),
        ("/a;x=1;y=2/b;z", "/a/b"),
        ("/;a/b", "/b"),
        (";a", "/"),
        ("/public/..;/admin", "/admin"),
        ("/public/.;x/a", "/public/a"),
        ("/..;/..;/a", "/a"),
        ("/a/..;x", "/"),
        ("/a/b/..;x", "/a/"),
        ("/login%3Ba=1", "/login%3Ba=1"),
        ("//a", "//a"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_parameters_of_segments_do_not_count(path, compared):
    assert compared_path(path) == compared
    assert compared_path(compared) == compared
