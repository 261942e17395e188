"""The page at `/docs`: the OpenAPI description as plain HTML, without scripts and without another site's files."""

from html import escape
from typing import Any

__all__ = ["reference_page"]

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}"
    "code{background:#eef2f5;padding:.1em .3em;border-radius:3px}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #d5dde4;padding:.3rem .5rem;text-align:left;vertical-align:top}h2{margin-top:2.5rem}"
)


def reference_page(schema: dict[str, Any]) -> str:
    """Return the page for an OpenAPI description."""
    operations = [
        _operation(method, path, operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    ]
    title = escape(schema["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>{title} {escape(schema['info']['version'])}</h1>"
        f"<p>{escape(schema['info'].get('description', ''))} The description itself: <code>/openapi.json</code>.</p>"
        f"{''.join(operations)}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    responses = "".join(
        f"<tr><td>{escape(code)}</td><td>{escape(response.get('description', ''))}</td></tr>"
        for code, response in operation["responses"].items()
    )
    role = ", ".join(name for scheme in operation.get("security", []) for name in scheme)
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        f"<p>Role: {escape(role) if role else 'none'}.</p>"
        + (f"<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>{parameters}</table>" if parameters else "")
        + f"<table><tr><th>Status</th><th>Meaning</th></tr>{responses}</table>"
    )
