"""The part of a project file that makes a version: data, steps, gates, package."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from configs.bias import Groups
from configs.quantity import Share
from configs.section import Dotted, Section


class Channel(Section):
    """One named input of the process step, as a folder that the step reads."""

    source: str | None = None
    """A CSV or Parquet file or folder: a path relative to the project file, or an `s3://` address."""
    function: Dotted | None = None
    """Or a function of the project, `module:name`, called with `parameters`, that returns a data frame."""
    parameters: dict[str, Any] = {}
    """Keyword arguments of the function."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.source is None) == (self.function is None):
            raise ValueError("give exactly one of source and function")
        return self


class Features(Section):
    """The columns a model sees, in the order it sees them."""

    numeric: tuple[str, ...] = ()
    """Columns read as numbers; empty cells stay missing (NaN)."""
    categorical: tuple[str, ...] = ()
    """Columns read as text; a missing value is the empty string."""

    @model_validator(mode="after")
    def _some_and_distinct(self) -> Self:
        names = self.numeric + self.categorical
        if not names:
            raise ValueError("name at least one numeric or categorical column")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns named twice: {', '.join(doubled)}")
        return self


class Data(Section):
    """Where rows come from and what the columns mean."""

    channels: dict[str, Channel] = Field(min_length=1)
    """Inputs of the process step by name."""
    target: str
    """The column to predict."""
    features: Features
    """The columns to predict from."""
    time: str | None = None
    """The column that orders rows in time; the hold-out is its latest part."""


class Process(Section):
    """Raw channels to one table of features and target."""

    function: Dotted
    """`module:name` of a function `(channels: dict[str, Path], **parameters) -> data frame`."""
    parameters: dict[str, Any] = {}
    """Its keyword arguments."""


class Validate(Section):
    """Great Expectations suite that the processed table must meet."""

    suite: str = "suite.json"
    """File with `{"name", "expectations": [{"type", "kwargs", "severity"}]}`, beside the project file."""
    fail_on: Literal["critical", "warning", "info"] = "critical"
    """The lowest severity whose failure stops the build."""


class Train(Section):
    """How to fit: an estimator by dotted name, or a function of the project."""

    estimator: Dotted | None = None
    """A scikit-learn compatible class, for example `sklearn.ensemble.HistGradientBoostingClassifier`."""
    function: Dotted | None = None
    """Or `module:name` of a function `(features, seed, **hyperparameters)` that returns an unfitted one."""
    task: Literal["binary", "multiclass", "regression"] = "binary"
    """What is predicted."""
    hyperparameters: dict[str, Any] = {}
    """Keyword arguments of the estimator or the function."""
    seed: int = Field(default=7, ge=0)
    """Passed as `random_state` wherever the estimator takes one."""

    @model_validator(mode="after")
    def _one_recipe(self) -> Self:
        if (self.estimator is None) == (self.function is None):
            raise ValueError("give exactly one of estimator and function")
        return self


class Evaluate(Section):
    """The time-ordered hold-out and how sure to be about its figures."""

    holdout: Share = 0.2
    """Latest share of the rows, never trained on."""
    slices: tuple[str, ...] = ()
    """Columns by whose values every metric is repeated."""
    bootstrap: int = Field(default=300, ge=50, le=20_000)
    """Resamples behind each confidence interval."""
    confidence: Share = 0.95
    """Coverage of the intervals."""
    bias: Groups | None = None
    """Compare groups on the hold-out; the report becomes evidence, and gates may limit it."""

    @model_validator(mode="after")
    def _open_interval(self) -> Self:
        if not 0 < self.holdout < 1:
            raise ValueError("holdout must lie strictly between 0% and 100%")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be at least 50% and less than 100%")
        return self


class Threshold(Section):
    """A gate: the metric on the hold-out must lie within limits, or not be worse than the champion's."""

    metric: str
    """A metric of the evaluation report, for example `roc_auc`, `log_loss`, `brier`, `accuracy`, `rmse`."""
    min: float | None = None
    """Smallest value that passes."""
    max: float | None = None
    """Largest value that passes."""
    not_worse_than: Literal["champion"] | None = None
    """Compare with the champion on the same rows (paired); passes when there is no champion yet."""
    margin: float = Field(default=0.0, ge=0)
    """How much worse than the champion still passes, in the metric's unit."""
    slice: str | None = None
    """`column=value` to look at one slice instead of all rows."""

    @model_validator(mode="after")
    def _something_to_check(self) -> Self:
        if self.min is None and self.max is None and self.not_worse_than is None:
            raise ValueError("give min, max or not_worse_than")
        return self


class BiasThreshold(Section):
    """A gate: how differently groups may be treated on the hold-out."""

    bias: str
    """A bias metric, for example `DPL`, `DI` or `AD`."""
    facet: str
    """A facet of `evaluate.bias`; a combination as `sex & age`."""
    value: str | None = None
    """Only this group, as the report names it; every group of the facet when not given."""
    min: float | None = None
    """Smallest value that passes."""
    max: float | None = None
    """Largest value that passes."""
    within: float | None = Field(default=None, ge=0)
    """Largest distance from the value that says no bias: 1 for DI, 0 for all others."""

    @model_validator(mode="after")
    def _something_to_check(self) -> Self:
        if self.min is None and self.max is None and self.within is None:
            raise ValueError("give min, max or within")
        return self


def _gate_kind(value: Any) -> str:
    bias = "bias" in value if isinstance(value, dict) else isinstance(value, BiasThreshold)
    return "fairness" if bias else "quality"


Gate = Annotated[
    Annotated[Threshold, Tag("quality")] | Annotated[BiasThreshold, Tag("fairness")],
    Discriminator(_gate_kind),
]
"""What must hold before anything is registered."""


class Package(Section):
    """What goes into `model.tar.gz`."""

    parity_tolerance: float = Field(default=1e-4, gt=0)
    """Largest difference between ONNX and scikit-learn scores on hold-out rows; above it skops is served."""
    runtime: Literal["auto", "onnx", "sklearn"] = "auto"
    """`auto` serves, by batch size, whichever was clearly faster; `onnx` the compiled model whenever it is
    faithful; `sklearn` the trained model, without compiling it."""
    trained_from: int | None = Field(default=None, ge=1)
    """Settles what `auto` would measure: the trained model answers batches of at least this many rows."""
    quantise: Literal["none", "float16", "int8"] = "none"
    """Store the weights of matrix products smaller. Tree ensembles have none and stay as they are."""
    float16_tolerance: float = Field(default=5e-3, gt=0)
    """Takes the place of `parity_tolerance` for float16; beyond it the weights stay in single precision."""
    int8_tolerance: float = Field(default=5e-2, gt=0)
    """The same for int8."""
    quantised_rank_agreement: float = Field(default=0.99, ge=0, le=1)
    """Smallest share of pairs of rows (for multiclass: of rows) that a quantised model must order alike."""
    sample_rows: int = Field(default=20, ge=1, le=1000)
    """Rows kept in the package as sample request with recorded predictions."""
    allow_pickle: bool = False
    """Permit pickle for estimators that neither ONNX nor skops can hold. Loading pickle runs code."""

    @model_validator(mode="after")
    def _one_decision(self) -> Self:
        if self.trained_from is not None and self.runtime != "auto":
            raise ValueError("trained_from needs runtime: auto; remove one of the two")
        return self
