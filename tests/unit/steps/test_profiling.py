"""Files of any cut give the profile of their rows."""

import polars as pl
import pytest

from monitoring.profiles import scan
from steps import profiling
from steps.errors import DataRefused

TABLE = pl.DataFrame(
    {
        "x": [n / 7 for n in range(300)],
        "n": [n % 90 if n % 5 else None for n in range(300)],
        "s": [f"a{n % 4}" for n in range(300)],
    }
)
KINDS = {"x": "numeric", "n": "numeric", "s": "categorical"}


def test_a_folder_of_parquet_is_the_table(tmp_path) -> None:
    for number, part in enumerate(TABLE.iter_slices(70)):
        folder = tmp_path / f"day={number % 2}"
        folder.mkdir(exist_ok=True)
        part.write_parquet(folder / f"{number}.parquet", row_group_size=20)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.parquet").write_bytes(b"no")
    told: list[int] = []
    found = profiling.profile(tmp_path, progress=told.append)
    whole = scan.profile(TABLE)
    assert told == [300]
    assert found.rows == 300
    assert found.columns["s"].categories == whole.columns["s"].categories
    assert found.columns["x"].numeric.quantiles == whole.columns["x"].numeric.quantiles


@pytest.mark.parametrize("kinds", [None, KINDS])
def test_csv_is_typed_by_its_cells(tmp_path, kinds) -> None:
    TABLE.write_csv(tmp_path / "a.csv")
    found, whole = profiling.profile(tmp_path / "a.csv", kinds), scan.profile(TABLE)
    for name, column in whole.columns.items():
        assert (found.columns[name].kind, found.columns[name].missing) == (column.kind, column.missing)
        assert found.columns[name].inferred_type == column.inferred_type
    assert found.columns["x"].numeric.quantiles == whole.columns["x"].numeric.quantiles
    assert found.columns["n"].numeric.moments.sum == pytest.approx(whole.columns["n"].numeric.moments.sum)


def test_an_empty_cell_is_missing_and_a_quoted_one_is_not(tmp_path) -> None:
    (tmp_path / "a.csv").write_text('s,t\nu,1\n"",2\n,3\n"two\nlines",4\n')
    found = profiling.profile(tmp_path / "a.csv").columns["s"]
    assert (found.present, found.missing) == (3, 1)
    assert dict(found.categories.counts) == {"": 1, "two\nlines": 1, "u": 1}


def test_a_csv_with_a_header_alone_has_no_rows(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    assert profiling.profile(tmp_path / "a.csv").rows == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,a\n1,2\n", "two columns 'a'"),
        ("a.csv", b"a,b\n1,2,3\n", "cannot be read as CSV"),
        ("a.csv", b"", "cannot be read as CSV"),
        ("a.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("a.txt", b"", "no Parquet or CSV file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataRefused, match=message):
        profiling.profile(tmp_path / name)


def test_no_file_at_all(tmp_path) -> None:
    with pytest.raises(DataRefused, match="no Parquet or CSV file lies in"):
        profiling.profile(tmp_path)
    with pytest.raises(DataRefused, match="no Parquet or CSV file"):
        profiling.profile(tmp_path / "gone.parquet")
    with pytest.raises(DataRefused, match="nowhere"):
        profiling.profile([])
