"""Which predictions are explained: a JMESPath expression over each record of the answer."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from serving import codecs
from serving.errors import RequestRefused

LONGEST = 64
"""Characters of an expression, as SageMaker limits it."""


class ExpressionRefused(RequestRefused):
    """The expression cannot be read, or says neither true nor false about a record (400)."""


def compiled(expression: str) -> Any:
    """The parsed expression.

    Raises:
        ExpressionRefused: it is empty, too long, or no JMESPath.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    if not 0 < len(expression) <= LONGEST:
        raise ExpressionRefused(f"an expression for explanations has 1 to {LONGEST} characters")
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        raise ExpressionRefused(f"{expression!r} is no JMESPath expression: {_line(error)}") from error


def chosen(expression: str, body: bytes, media: str) -> list[int]:
    """Positions of the records that the expression is true for.

    Args:
        expression: JMESPath, with the value true or false for every record.
        body: the predictions as they are answered.
        media: their format; records of CSV are arrays, those of JSON and JSON Lines objects.

    Raises:
        ExpressionRefused: it cannot be read, or has another value.
    """
    from jmespath.exceptions import JMESPathError

    parsed = compiled(expression)
    found = []
    for number, record in enumerate(records(body, media)):
        try:
            value = parsed.search(record)
        except JMESPathError as error:
            raise ExpressionRefused(
                f"{expression!r} fails on the prediction for row {number}: {_line(error)}", row=number
            ) from error
        if not isinstance(value, bool):
            raise ExpressionRefused(
                f"{expression!r} is {value!r:.100} for row {number}; it must be true or false", row=number
            )
        if value:
            found.append(number)
    return found


def records(body: bytes, media: str) -> list[Any]:
    """The records of an answer in CSV, JSON or JSON Lines."""
    if media == codecs.JSON:
        predictions: list[Any] = orjson.loads(body)["predictions"]
        return predictions
    if media == codecs.LINES:
        return [orjson.loads(line) for line in body.splitlines()]
    return [[_cell(cell) for cell in line] for line in csv.reader(io.StringIO(body.decode(), newline=""))]


def _cell(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
