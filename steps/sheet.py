"""The decision sheet of an archive: what to know before approving what no build of ours measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steps.archive import Contents, described
from steps.samples import Sample
from steps.trial import Tried


def archive_sheet(
    title: str,
    contents: Contents,
    samples: Sequence[Sample],
    tried: Sequence[Tried],
    *,
    facts: Mapping[str, str],
    link: str,
) -> str:
    """Markdown for the person who approves.

    Args:
        title: heading.
        contents: what the archive holds.
        samples: the requests that the endpoint tests will send.
        tried: what came of them here; empty when nothing was tried.
        facts: shown as a list, for example the digest.
        link: address of the run that holds archive and samples.
    """
    parts = [f"# {title}", _verdict(contents, samples, tried)]
    if contents.parts:
        lines = [f"| {name} | {what} |" for name, what in contents.parts]
        parts += ["## What is in it", "\n".join(["| Part | Is |", "|---|---|", *lines])]
    if elsewhere := [name for name, what in contents.parts if what.startswith("http")]:
        parts.append(
            f"**{', '.join(elsewhere)} runs elsewhere:** what answers there is not part of this version, and "
            "can change without an approval."
        )
    parts += ["## Samples", _table(tried) if tried else _listed(samples)]
    parts += ["## Origin", "\n".join(f"- {name}: `{value}`" for name, value in facts.items())]
    parts += ["## Look closer", f"- [archive and samples]({link})"]
    return "\n\n".join(parts) + "\n"


def tried_rows(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """One row for each sample that was tried."""
    return [
        {
            "sample": one.sample.name,
            "content type": one.sample.answer_type,
            "answer": _judged(one),
            "ms": round(one.seconds * 1000, 1),
        }
        for one in tried
    ]


def _judged(one: Tried) -> str:
    if one.expected:
        return f"as expected, numbers within {one.difference:.2g}"
    if one.sample.deterministic:
        return "the same twice; kept as the expected one"
    return "not compared"


def _verdict(contents: Contents, samples: Sequence[Sample], tried: Sequence[Tried]) -> str:
    what = described(contents)
    if not tried:
        return f"**Not tried:** {what}. Staging will be the first to send its {len(samples)} samples."
    expected = sum(one.expected for one in tried)
    return (
        f"**Tried:** {what}. All {len(tried)} samples were answered, {expected} of them with an answer that "
        "was stated beforehand. Nothing here says how good the predictions are."
    )


def _table(tried: Sequence[Tried]) -> str:
    rows = tried_rows(tried)
    lines = [f"| {row['sample']} | {row['content type']} | {row['answer']} | {row['ms']} |" for row in rows]
    return "\n".join(["| Sample | Content type | Answer | ms |", "|---|---|---|---|", *lines])


def _listed(samples: Sequence[Sample]) -> str:
    return "\n".join(f"- {one.name}: {len(one.body)} bytes of {one.content_type}" for one in samples)
