"""Which format a body has, and which one its answer gets."""

from __future__ import annotations

from functools import lru_cache

from serving.errors import NotAcceptable, UnsupportedContentType

JSON, CSV = "application/json", "text/csv"
LINES = "application/jsonlines"
NPY, NPZ = "application/x-npy", "application/x-npz"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"

READABLE = (JSON, CSV, LINES, NPY, NPZ, ARROW, PARQUET)
"""Formats of request bodies, by their first names."""
WRITABLE = (JSON, CSV, LINES, NPY, ARROW)
"""Formats of answers."""

_NAMES = {name: name for name in READABLE} | {
    "application/x-ndjson": LINES,
    "application/jsonl": LINES,
    "application/x-jsonlines": LINES,
    "application/x-parquet": PARQUET,
}
_ANSWERED = {NPZ: NPY, PARQUET: ARROW}
"""What stands for formats that are no answers."""
_UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})


@lru_cache(256)
def media_type(content_type: str | None) -> str:
    """The format of a body by its `Content-Type`, one of `READABLE`; JSON when there is none.

    Raises:
        UnsupportedContentType: none of ours, or text that is not in UTF-8.
    """
    if not content_type or not content_type.strip():
        return JSON
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media not in _NAMES:
        raise UnsupportedContentType(
            f"content type {media[:100]!r} is not supported; send one of {', '.join(READABLE)}"
        )
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _UTF8:
            raise UnsupportedContentType(f"charset {value.strip()[:100]!r} is not supported; send UTF-8")
    return _NAMES[media]


@lru_cache(256)
def answer_type(accept: str | None, request: str, default: str = "") -> str:
    """The format of the answer, one of `WRITABLE`: the first one in `Accept` that we can write.

    With no `Accept`, or `*/*`, it is `default`, itself written like an `Accept`; with no default the format
    of the request, npy for npz, and Arrow for Parquet.

    Raises:
        NotAcceptable: `Accept` names formats, and none of them is ours.
    """
    if not accept or not accept.strip():
        return _unasked(request, default)
    for item in accept.split(","):
        match item.partition(";")[0].strip().lower():
            case "*/*":
                return _unasked(request, default)
            case "application/*":
                return JSON
            case "text/*":
                return CSV
            case media if _NAMES.get(media) in WRITABLE:
                return _NAMES[media]
    raise NotAcceptable(f"cannot answer in {accept[:100]!r}; accept one of {', '.join(WRITABLE)}")


def _unasked(request: str, default: str) -> str:
    if default:
        return answer_type(default, request)
    return _ANSWERED.get(request, request)
