"""One HTML page that loads nothing from anywhere: its frame, and the style that all pages share. Pure."""

from __future__ import annotations

from html import escape

_STYLE = """
:root { color-scheme: light dark; --line: #d8dee6; --soft: #5b6773; --good: #0b6e4f; --bad: #b3261e;
  --back: #fff; --row: #f6f8fa; --ink: #1b2430 }
@media (prefers-color-scheme: dark) { :root { --line: #303a46; --soft: #9aa7b4; --good: #5ec9a0;
  --bad: #ff8a80; --back: #12171d; --row: #1a2129; --ink: #e6ebf0 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.25rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p { margin: 0 0 .4rem; color: var(--soft) }
.figures { display: flex; flex-wrap: wrap; gap: 1.5rem 2.5rem; margin: 1.75rem 0 }
.figures b { display: block; font-size: 1.75rem; line-height: 1.2 }
.scroll { overflow-x: auto } table { width: 100%; border-collapse: collapse; font-size: .92rem }
th { text-align: left; font-weight: 600; color: var(--soft) }
th, td { padding: .5rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top }
tr:hover td { background: var(--row) }
.good { color: var(--good) } .bad { color: var(--bad) }
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML.
        style: CSS of this page, after that of all pages.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
