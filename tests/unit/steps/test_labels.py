"""Labels: brought in from anywhere, once; joined to the hours they belong to, however late."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from configs.retention import Retention
from monitoring.quality.truth import decode
from steps import joining
from steps.errors import DataRefused
from steps.hours import bring, joined
from steps.labelled import Columns, ground_truth
from steps.labels import accept, add, folder, label_files, lines_of, prune
from tests.unit.steps.test_hours import SPAN, START, capture, stock

NOW = START + timedelta(hours=3)


def known(home: Path) -> dict[str, list[str | None]]:
    """Labels by id, as they lie there."""
    found: dict[str, list[str | None]] = {}
    for _, path in label_files(home, "late", NOW - timedelta(days=365), NOW + timedelta(days=1)):
        for row in decode(lines_of(path)).frame.to_dicts():
            found.setdefault(row["id"], []).append(row["label"])
    return found


def labelled(home: Path) -> dict[str, str]:
    rows = joined(home / "monitoring/late", "v1", *SPAN).collect().drop_nulls("@label")
    return dict(zip(rows["@event_id"], rows["@label"], strict=True))


# ---- bringing in ------------------------------------------------------------------------------------------


def write(file: Path, content: str | pl.DataFrame) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        file.write_text(content)
    else:
        content.write_parquet(file)
    return str(file)


RECORD = (
    '{"groundTruthData":{"data":"%s","encoding":"CSV"},"eventMetadata":{"eventId":"%s"},"eventVersion":"0"}\n'
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "event_id,label\na,1\nb,0\n"),
        ("a.csv", "note,label,inference_id\nx,1,a\ny,0,b\n"),
        ("a.parquet", pl.DataFrame({"id": ["a", "b"], "label": [1, 0]})),
        ("a.parquet", pl.DataFrame({"id": ["a", "b"], "label": [True, False]})),
        ("a.jsonl", RECORD % ("1", "a") + RECORD % ("0", "b")),
        ("a.jsonl", '{"event_id":"a","label":1}\n\n{"inference_id":"b","label":0.0}\n'),
        ("a.json", '[{"event_id":"a","label":true},{"event_id":"b","label":"false"}]'),
    ],
)
def test_every_form_of_labels(tmp_path, name, content):
    found = add(tmp_path, "late", write(tmp_path / name, content), NOW)
    assert (found.accepted, found.refused, found.files, found.known) == (2, 0, 1, 0)
    assert known(tmp_path) == {"a": ["1"], "b": ["0"]}


def test_files_lie_in_the_hour_of_their_collection_in_sagemakers_shape(tmp_path):
    add(tmp_path, "late", write(tmp_path / "a.csv", "event_id,label\na,1\n"), NOW)
    ((_, path),) = label_files(tmp_path, "late", NOW, NOW + timedelta(hours=1))
    assert path.parent == folder(tmp_path, "late") / f"{NOW:%Y/%m/%d/%H}"
    (line,) = path.read_text().splitlines()
    record = json.loads(line)
    assert record["groundTruthData"] == {"data": "1", "encoding": "CSV"}
    assert record["eventMetadata"]["eventId"] == "a"
    assert record["eventVersion"] == "0"
    assert [at for at, _ in lines_of(path)] == [NOW]


def test_the_same_file_twice_changes_nothing(tmp_path):
    source = write(tmp_path / "a.csv", "event_id,label\na,1\n")
    add(tmp_path, "late", source, NOW)
    again = add(tmp_path, "late", source, NOW + timedelta(days=1))
    assert (again.accepted, again.known) == (0, 1)
    assert known(tmp_path) == {"a": ["1"]}
    write(tmp_path / "a.csv", "event_id,label\na,0\n")
    assert add(tmp_path, "late", source, NOW + timedelta(hours=1)).accepted == 1
    assert known(tmp_path) == {"a": ["1", "0"]}


def test_a_folder_of_sagemaker_keeps_its_hours(tmp_path):
    write(tmp_path / "truth/2026/11/23/08/x.jsonl", RECORD % ("1", "a"))
    write(tmp_path / "truth/2026/11/23/09/x.jsonl", RECORD % ("0", "b"))
    found = add(tmp_path, "late", str(tmp_path / "truth"), NOW)
    assert (found.accepted, found.files) == (2, 2)
    hours = [at.hour for at, _ in label_files(tmp_path, "late", START - timedelta(hours=9), NOW)]
    assert hours == [8, 9]


def test_columns_that_somebody_names_and_rows_of_one_request(tmp_path):
    table = "booking,was_late,row\na,1,0\na,0,1\nb,,0\n,1,0\nc,1,1\n"
    found = add(tmp_path, "late", write(tmp_path / "a.csv", table), NOW, Columns("booking", "was_late"))
    assert dict(found.reasons) == {"it has no label": 1, "it has no id": 1}
    assert known(tmp_path) == {"a": ["1", "0"], "c": [None, "1"]}


def test_labels_that_are_text_come_back_as_they_are(tmp_path):
    texts = ["a,b", 'say "no"', "two\nlines", "plain", "ä"]
    for number, text in enumerate(texts):
        accept(tmp_path, "late", [ground_truth(f"e{number}", [text])], NOW)
    accept(tmp_path, "late", [ground_truth("many", texts)], NOW)
    assert known(tmp_path) == {f"e{n}": [text] for n, text in enumerate(texts)} | {"many": texts}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "a,b\n1,2\n", "which column is the id"),
        ("a.csv", "id,b\n1,2\n", "which column is the label"),
        ("a.xml", "<a/>", "labels are read from"),
        ("a.parquet", "nothing", "cannot be read"),
        ("a.json", "[1", "is not JSON"),
    ],
)
def test_what_is_no_file_of_labels_is_refused(tmp_path, name, content, problem):
    with pytest.raises(DataRefused, match=problem):
        add(tmp_path, "late", write(tmp_path / name, content), NOW)
    assert known(tmp_path) == {}


def test_nothing_there(tmp_path):
    with pytest.raises(DataRefused, match="there is no file of labels"):
        add(tmp_path, "late", str(tmp_path / "nowhere"), NOW)
    with pytest.raises(DataRefused, match="is no name of an endpoint"):
        accept(tmp_path, "../x", [{"id": "a", "label": 1}], NOW)


def test_posted_labels_are_appended_and_bad_ones_named(tmp_path):
    sent = [
        {"event_id": "a", "label": 1},
        {"event_id": "b"},
        "text",
        {"groundTruthData": {"data": "1", "encoding": "XML"}, "eventMetadata": {"eventId": "c"}},
        {"event_id": "d", "label": [0, None, 1]},
    ]
    found = accept(tmp_path, "late", sent, NOW)
    assert (found.accepted, found.refused) == (2, 3)
    assert found.examples == (
        (2, "it has no label"),
        (3, "it is no object"),
        (4, "encoding XML is not read; use CSV or JSON"),
    )
    accept(tmp_path, "late", [{"event_id": "e", "label": "x"}], NOW + timedelta(seconds=20))
    assert known(tmp_path) == {"a": ["1"], "d": ["0", None, "1"], "e": ["x"]}
    assert len(label_files(tmp_path, "late", NOW, NOW + timedelta(hours=1))) == 1


def test_a_line_that_a_dead_process_left_torn_harms_nobody(tmp_path):
    accept(tmp_path, "late", [{"event_id": "a", "label": 1}], NOW)
    ((_, path),) = label_files(tmp_path, "late", NOW, NOW + timedelta(hours=1))
    with path.open("ab") as file:
        file.write(b'{"groundTruthData":{"da')
    assert known(tmp_path) == {"a": ["1"]}
    accept(tmp_path, "late", [{"event_id": "b", "label": 1}], NOW)
    assert known(tmp_path) == {"a": ["1"], "b": ["1"]}


def test_old_labels_go(tmp_path):
    accept(tmp_path, "late", [{"event_id": "a", "label": 1}], NOW)
    ((_, path),) = label_files(tmp_path, "late", NOW, NOW + timedelta(hours=1))
    later = datetime.fromtimestamp(path.parent.stat().st_mtime, UTC) + timedelta(days=31)
    assert prune(tmp_path, Retention(timedelta(days=40), 0), later) == ()
    assert len(prune(tmp_path, Retention(timedelta(days=30), 0), later)) == 1
    assert known(tmp_path) == {}


# ---- joining ----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path) -> Path:
    """Two hours of 60 rows each."""
    capture(tmp_path / "captures", range(120))
    bring(stock(tmp_path), "v1", *SPAN)
    return tmp_path


def labels(home: Path, numbers: range, label: object = 1, at: datetime = NOW) -> None:
    accept(home, "late", [{"event_id": f"e{n}", "label": label} for n in numbers], at)


NINE, TEN = START.replace(minute=0), START.replace(hour=10, minute=0)


def test_late_labels_reopen_the_hours_they_touch_and_no_others(home):
    labels(home, range(10))
    assert joining.apply(home, "late", "v1", NOW).touched == (NINE,)
    assert labelled(home) == {f"e{n}": "1" for n in range(10)}
    folders = home / "monitoring/late/v1/2026/11/23"
    nine = (folders / "09/joined.parquet").read_bytes()
    labels(home, range(100, 110))
    found = joining.apply(home, "late", "v1", NOW + timedelta(hours=1))
    assert (found.touched, found.records) == ((TEN,), 20)  # the file has grown, and is read again
    assert (folders / "09/joined.parquet").read_bytes() == nine
    assert len(labelled(home)) == 20
    again = joining.apply(home, "late", "v1", NOW + timedelta(hours=1))
    assert (again.touched, again.records) == ((), 0)


def test_the_last_label_wins_and_the_same_one_touches_nothing(home):
    labels(home, range(5), 1)
    joining.apply(home, "late", "v1", NOW)
    labels(home, range(5), 1, NOW + timedelta(minutes=1))
    assert joining.apply(home, "late", "v1", NOW + timedelta(minutes=1)).touched == ()
    labels(home, range(2), 0, NOW + timedelta(minutes=2))
    assert joining.apply(home, "late", "v1", NOW + timedelta(minutes=2)).touched == (NINE,)
    assert labelled(home) == {"e0": "0", "e1": "0", "e2": "1", "e3": "1", "e4": "1"}


def test_labels_that_came_before_the_captures_are_found(home):
    labels(home, range(200, 210))
    assert joining.apply(home, "late", "v1", NOW).touched == ()
    capture(home / "captures", range(200, 205))
    bring(stock(home), "v1", *SPAN)
    assert joining.apply(home, "late", "v1", NOW).touched == (TEN,)
    assert labelled(home) == {f"e{n}": "1" for n in range(200, 205)}
    capture(home / "captures", range(205, 220))
    bring(stock(home), "v1", *SPAN)
    assert joining.apply(home, "late", "v1", NOW).touched == (TEN,)
    assert len(labelled(home)) == 10


def test_joined_rows_are_the_rows_with_two_columns_more(home):
    labels(home, range(0, 120, 2))
    joining.apply(home, "late", "v1", NOW)
    for hour in ("09", "10"):
        place = home / "monitoring/late/v1/2026/11/23" / hour
        rows, with_labels = pl.read_parquet(place / "rows.parquet"), pl.read_parquet(place / "joined.parquet")
        assert with_labels.drop("@label", "@label_at").equals(rows)
        assert with_labels["@label_at"].drop_nulls().unique().to_list() == [NOW]
    assert sorted(labelled(home)) == sorted(f"e{n}" for n in range(0, 120, 2))


def test_labels_by_inference_id_and_for_every_row_of_a_request(tmp_path):
    body = '{"instances":[{"age":1},{"age":2}]}'
    capture(tmp_path / "captures", range(3), body=body)  # answers have one row: predictions stay unknown
    bring(stock(tmp_path), "v1", *SPAN)
    accept(tmp_path, "late", [{"id": "e1", "label": [1, 0]}, {"id": "e2", "label": 1}], NOW)
    found = joining.apply(tmp_path, "late", "v1", NOW)
    assert found.mismatched == ("e2",)
    rows = joined(tmp_path / "monitoring/late", "v1", *SPAN).collect().drop_nulls("@label")
    assert rows.select("@event_id", "@row", "@label").rows() == [("e1", 0, "1"), ("e1", 1, "0")]


def test_rows_older_than_the_look_back_are_left_alone(home):
    labels(home, range(10))
    late = joining.apply(home, "late", "v1", NOW, look_back=timedelta(hours=1))
    assert late.touched == ()
    assert labelled(home) == {}


def test_a_crash_before_the_end_loses_nothing(home, monkeypatch):
    labels(home, range(10))

    def dies(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(joining, "replaced", dies)
        with pytest.raises(OSError, match="No space"):
            joining.apply(home, "late", "v1", NOW)
    assert joining.apply(home, "late", "v1", NOW).records == 10
    assert len(labelled(home)) == 10


def test_hours_without_labels_get_no_second_copy_of_their_rows(home):
    labels(home, range(10))
    joining.apply(home, "late", "v1", NOW)
    folders = home / "monitoring/late/v1/2026/11/23"
    assert (folders / "09/joined.parquet").exists()
    assert not (folders / "10/joined.parquet").exists()
    assert joining.apply(home, "late", "v1", NOW).records == 0


def test_rows_that_come_when_label_files_are_gone_keep_the_labels_of_the_others(home):
    labels(home, range(10))
    joining.apply(home, "late", "v1", NOW)
    for _, path in label_files(home, "late", NOW - timedelta(days=1), NOW + timedelta(days=1)):
        path.unlink()
    capture(home / "captures", range(-5, 0))
    bring(stock(home), "v1", *SPAN)
    joining.apply(home, "late", "v1", NOW)
    rows = joined(home / "monitoring/late", "v1", *SPAN).collect()
    assert rows.height == 125
    assert labelled(home) == {f"e{n}": "1" for n in range(10)}


def test_nothing_to_join(tmp_path):
    assert joining.apply(tmp_path, "late", "v1", NOW) == joining.Applied()


# ---- how far labels have come -----------------------------------------------------------------------------


def test_coverage_delay_and_orphans(home):
    labels(home, range(30))
    labels(home, range(500, 503))
    joining.apply(home, "late", "v1", NOW)
    found = joining.status(home, "late", START - timedelta(hours=1), NOW + timedelta(hours=1))
    nine, ten = found.rows
    assert (nine.hour, nine.rows, nine.labelled, nine.share) == (NINE, 60, 30, 0.5)
    assert nine.delay == pytest.approx(3 * 3600 - 14.5)
    assert (ten.labelled, ten.delay) == (0, None)
    (collected,) = found.labels
    assert (collected.hour, collected.labels, collected.orphans) == (NOW.replace(minute=0), 33, 3)
    assert (len(found.delays), len(found.waiting)) == (30, 90)


def test_a_label_of_another_variant_is_no_orphan(home):
    capture(home / "captures", range(300, 310), "v2")
    bring(stock(home), "v2", *SPAN)
    labels(home, range(300, 310))
    for variant in ("v1", "v2"):
        joining.apply(home, "late", variant, NOW)
    found = joining.status(home, "late", START - timedelta(hours=1), NOW + timedelta(hours=1))
    assert [one.orphans for one in found.labels] == [0]
    assert {one.variant: one.labelled for one in found.rows} == {"v1": 0, "v2": 10}
