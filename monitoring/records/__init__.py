"""Captured payloads to a table: what was asked, what was predicted, one row for each predicted row."""

from __future__ import annotations

from monitoring.records.decoding import COLUMNS, Decoded, decode
from monitoring.records.envelope import Refusal
from monitoring.records.layout import Handler, Layout, layout_of

__all__ = ["COLUMNS", "Decoded", "Handler", "Layout", "Refusal", "decode", "layout_of"]
