"""The comparison counts exactly what differs."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.paired import Answer, Pair, compare, judge
from monitoring.payloads import Prediction
from monitoring.slices import OTHER, SHOWN

scores = st.floats(0, 1) | st.just(math.nan) | st.just(math.inf)
rows = st.builds(Prediction, st.sampled_from(["0", "1"]), scores.map(lambda one: (one,)))
answers = st.builds(Answer, st.lists(rows, min_size=1, max_size=4).map(tuple))
traffic = st.lists(answers, min_size=1, max_size=30)


def pairs(champions, candidates):
    return [Pair(str(n), *both) for n, both in enumerate(zip(champions, candidates, strict=True))]


def change(prediction, how):
    if how == "flip":
        return replace(prediction, label="1" if prediction.label == "0" else "0")
    return replace(prediction, scores=tuple(2.5 if one != 2.5 else 3.5 for one in prediction.scores))


@given(traffic)
def test_a_version_beside_itself_differs_nowhere(given_answers):
    found = compare(pairs(given_answers, given_answers))
    assert (found.differences, found.flips, found.changed_share) == (0, 0, 0.0)
    assert found.identical
    assert found.rows == sum(len(one.rows) for one in given_answers)
    assert found.examples == ()
    assert judge(found) == ("passed", ())


@given(traffic, st.data())
def test_k_changed_rows_are_k_differences(given_answers, data):
    places = [(n, row) for n, one in enumerate(given_answers) for row in range(len(one.rows))]
    planted = data.draw(st.dictionaries(st.sampled_from(places), st.sampled_from(["flip", "score"])))
    changed = [
        replace(one, rows=tuple(
            change(found, planted[n, row]) if (n, row) in planted else found for row, found in enumerate(one.rows)
        ))
        for n, one in enumerate(given_answers)
    ]  # fmt: skip
    found = compare(pairs(given_answers, changed))
    assert found.differences == len(planted)
    assert found.flips == sum(how == "flip" for how in planted.values())
    assert found.flips == sum(one.rows for one in found.flipped)
    assert {(int(one.event_id), one.row) for one in found.examples} <= set(planted)


@given(traffic, traffic)
def test_swapping_the_sides_mirrors_the_report(left, right):
    size = min(len(left), len(right))
    there, back = compare(pairs(left[:size], right[:size])), compare(pairs(right[:size], left[:size]))
    assert (there.rows, there.differences, there.flips) == (back.rows, back.differences, back.flips)
    flips = {(one.candidate, one.champion): one.rows for one in back.flipped}
    assert {(one.champion, one.candidate): one.rows for one in there.flipped} == flips
    assert (there.scores is None) == (back.scores is None)
    if there.scores:
        assert there.scores.mean == pytest.approx(-back.scores.mean)


@given(traffic, st.lists(st.sampled_from(["a", "b", None, 3]), min_size=4, max_size=4))
def test_slices_add_up_to_the_whole(given_answers, values):
    other = [
        replace(one, rows=tuple(change(row, "flip") for row in one.rows[:1]) + one.rows[1:])
        for one in given_answers
    ]
    found = compare([replace(pair, slices=tuple(values)) for pair in pairs(given_answers, other)])
    assert sum(one.rows for one in found.slices) == found.rows
    assert sum(one.flips for one in found.slices) == found.flips == len(given_answers)


def answer(score, label=None, **changes):
    return Answer((Prediction(label, (score,)),), **changes)


def test_numbers_of_many_values_are_sliced_into_ranges():
    many = [Pair(str(n), answer(0.1), answer(0.1), (float(n),)) for n in range(100)]
    found = compare([*many, Pair("x", answer(0.1), answer(0.1), (None,))]).slices
    assert [one.rows for one in found] == [25, 25, 25, 25, 1]
    assert {one.value for one in found} >= {"0 to 24", "75 to 99", "missing"}


def test_rare_values_share_a_slice():
    many = [Pair(str(n), answer(0.1), answer(0.1), (f"v{n}",)) for n in range(40)]
    found = compare(many).slices
    assert len(found) == SHOWN
    assert found[-1].value == OTHER
    assert sum(one.rows for one in found) == 40


def test_score_differences_are_described():
    moved = [0.0, 0.1, -0.1, 0.3]
    found = compare([Pair(str(n), answer(0.5), answer(0.5 + d)) for n, d in enumerate(moved)]).scores
    assert found.mean == pytest.approx(0.075)
    assert found.mean_absolute == pytest.approx(0.125)
    assert found.largest == pytest.approx(0.3)
    assert dict(found.quantiles)[0.5] == pytest.approx(0.05)
    assert sum(found.counts) == 4
    assert len(found.edges) == len(found.counts) + 1


def test_several_classes_are_compared_by_total_variation():
    ours, theirs = Answer((Prediction("a", (0.7, 0.2, 0.1)),)), Answer((Prediction("a", (0.5, 0.3, 0.2)),))
    found = compare([Pair("1", ours, theirs)]).scores
    assert (found.measure, found.mean) == ("total variation", pytest.approx(0.2))


def test_a_tolerance_forgives_small_steps_and_never_a_label():
    found = compare([Pair("1", answer(0.5, "1"), answer(0.5 + 1e-8, "1"))], tolerance=1e-6)
    assert found.differences == 0
    assert compare([Pair("1", answer(0.5, "1"), answer(0.5, "0"))], tolerance=1e-6).differences == 1


def test_rows_that_only_one_answer_has_differ():
    two = Answer((Prediction("1"), Prediction("0")))
    found = compare([Pair("1", two, Answer((Prediction("1"),)))])
    assert (found.rows, found.differences, found.flips) == (2, 1, 0)


def test_requests_of_one_side_alone_are_counted_and_not_compared():
    found = compare([Pair("1", answer(1), None), Pair("2", None, answer(1)), Pair("3", None, answer(1))])
    assert (found.pairs, found.only_champion, found.only_candidate) == (0, 1, 2)
    assert judge(found)[0] == "failed"


def test_errors_are_a_table_of_four():
    failed, ok = Answer(status=500), answer(1)
    table = [(ok, ok), (ok, failed), (ok, failed), (failed, ok), (failed, failed)]
    found = compare([Pair(str(n), *both) for n, both in enumerate(table)])
    errors = found.errors
    assert (errors.neither, errors.only_champion, errors.only_candidate, errors.both) == (1, 1, 2, 1)
    assert errors.p == 1.0
    assert found.changed_share == 3 / 4
    assert not found.identical
    verdict, reasons = judge(found)
    assert verdict == "failed"
    assert "2 requests" in reasons[0]


def test_latency_is_compared_within_pairs():
    times = [(10, 12), (20, 21), (30, 31), (40, 39), (50, 55), (60, 61)]
    timed = [
        Pair(str(n), answer(1, milliseconds=a), answer(1, milliseconds=b)) for n, (a, b) in enumerate(times)
    ]
    found = compare(timed).latency
    assert (found.pairs, found.slower, found.faster) == (6, 5, 1)
    assert dict(found.difference)[0.5] == 1.0
    assert found.p == pytest.approx(14 / 64)
    assert compare([Pair("1", answer(1), answer(1))]).latency is None


def labelled(wins, losses, ties):
    right, wrong = answer(0.9, "1"), answer(0.1, "0")
    cases = [(wrong, right)] * wins + [(right, wrong)] * losses + [(right, right)] * ties
    return [Pair(str(n), *both, labels={0: True}) for n, both in enumerate(cases)]


def test_labels_say_who_is_right():
    found = compare(labelled(5, 60, 100)).quality
    assert (found.measure, found.labelled) == ("mistakes", 165)
    assert (found.champion_better, found.candidate_better) == (60, 5)
    assert found.champion == pytest.approx(5 / 165)
    assert found.verdict == "worse"
    assert found.p < 1e-6
    assert judge(compare(labelled(5, 60, 100)))[0] == "failed"
    assert compare(labelled(60, 5, 100)).quality.verdict == "better"
    assert compare(labelled(5, 5, 100)).quality.verdict == "undecided"


def test_regression_is_judged_by_who_comes_closer():
    cases = [(1.0, 1.5, 1.6)] * 40 + [(1.0, 2.0, 1.1)] * 3
    found = compare(
        [Pair(str(n), answer(a), answer(b), labels={0: y}) for n, (a, b, y) in enumerate(cases)]
    ).quality
    assert (found.measure, found.candidate_better, found.champion_better) == ("absolute error", 40, 3)
    assert found.verdict == "better"


def test_a_limit_on_changed_decisions():
    some = [Pair(str(n), answer(0.4, "0"), answer(0.6, "1" if n < 3 else "0")) for n in range(100)]
    found = compare(some)
    assert found.decisions_changed == 3
    assert judge(found, most_changed=0.03)[0] == "passed"
    assert judge(found, most_changed=0.02) == (
        "failed",
        ("3.00% of the rows are decided otherwise, more than 2.00%",),
    )
