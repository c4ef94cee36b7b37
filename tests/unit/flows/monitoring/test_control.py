"""Rows with the answers of two versions, parted by who has answered, and counted."""

import numpy as np
import polars as pl
import pytest

from flows.monitoring.control import OTHER, Pairs, _parted, _triples
from monitoring.rows import EVENT_ID, LABEL, PREDICTED, ROW


def rows(ids, answers, labels=None):
    return pl.DataFrame(
        {EVENT_ID: list(ids), ROW: [0] * len(ids), PREDICTED: answers, LABEL: labels or answers}
    )


def test_rows_are_parted_by_who_has_answered():
    both, ours, theirs = _parted(rows("abc", ["1", "0", "1"]), rows("bcd", ["1", "1", "0"]))
    assert both.sort(EVENT_ID).select(EVENT_ID, PREDICTED, OTHER).rows() == [("b", "0", "1"), ("c", "1", "1")]
    assert (ours[EVENT_ID].to_list(), theirs[EVENT_ID].to_list()) == (["a"], ["d"])


def test_a_request_that_was_answered_twice_counts_once_for_each_of_our_answers():
    both, ours, theirs = _parted(rows("a", ["1"]), rows("aa", ["0", "1"]))
    assert both[OTHER].to_list() == ["1"]
    assert ours.is_empty()
    assert theirs.is_empty()


@pytest.mark.parametrize("empty", [pl.DataFrame(), rows("", [])])
def test_without_a_control_all_rows_are_ours(empty):
    both, ours, theirs = _parted(rows("ab", ["1", "0"]), empty)
    assert (both.height, ours.height, theirs.height) == (0, 2, 0)


def test_classes_are_compared_as_text_and_numbers_as_numbers():
    told = _triples(rows("ab", [1, 0]).with_columns(pl.Series(OTHER, ["1", "1"])), "binary", PREDICTED, OTHER)
    assert told.rows() == [("1", "1", "1"), ("0", "0", "1")]
    told = _triples(
        rows("a", [2.5], ["2"]).with_columns(pl.lit(2.0).alias(OTHER)), "regression", OTHER, PREDICTED
    )
    assert told.rows() == [(2.0, 2.0, 2.5)]


@pytest.mark.parametrize(
    ("task", "labels", "serving", "before", "counted"),
    [
        ("binary", ["1", "1", "0"], ["1", "0", "1"], ["0", "1", "0"], (2, 1)),
        ("regression", [1.0, 2.0, 3.0], [1.0, 2.5, np.nan], [1.5, 2.1, 3.0], (1, 1)),
    ],
)
def test_rows_lost_and_won(task, labels, serving, before, counted):
    made = Pairs(task, *(np.array(one) for one in (labels, serving, before)), 3, 0, 0)
    assert made.lost_and_won() == counted
