"""Paths as rules compare them."""

__all__ = ["compared_path"]


def compared_path(path: str) -> str:
    """Return a path without the parameters of its segments, so that `/login;a=1` is `/login`.

    RFC 3986 section 3.3 lets a segment have parameters after `;`, and servers such as Tomcat and Jetty take them off
    before they look for what answers, and before dots are resolved: `/public/..;/admin` is `/admin` to them, hence to
    rules. A server that knows of no parameters sees the path as it came, so whoever compares paths asks about both.
    """
    if ";" not in path:
        return path
    resolved: list[str] = []
    segments = [segment.partition(";")[0] for segment in path.split("/")]
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment not in {"", "."}:
            resolved.append(segment)
    tail = "/" if resolved and segments[-1] in {"", ".", ".."} else ""
    return "/" + "/".join(resolved) + tail
