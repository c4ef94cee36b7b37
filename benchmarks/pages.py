"""Figures on pages of `docs/`: rewritten by each run between two marks, the other text stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

END = "<!-- end of figures -->"


def rewrite(page: Path, author: str, figures: str) -> None:
    """Put figures on a page; one that is not there yet gets nothing else.

    Args:
        page: the file.
        author: folder of the benchmark, named by the first mark.
        figures: Markdown.
    """
    begin = f"<!-- figures: written by {author} -->"
    text = page.read_text() if page.exists() else f"# {page.stem.replace('-', ' ').capitalize()}\n\n{begin}"
    head, _, rest = text.partition(begin)
    tail = rest.partition(END)[2] or "\n"
    page.write_text(f"{head}{begin}\n\n{figures}\n{END}{tail}")


def table(lines: Sequence[Mapping[str, str]]) -> str:
    """A table in Markdown; all lines have the columns of the first."""
    names = list(lines[0])
    rows = [names, ["---"] * len(names), *([line[name] for name in names] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
