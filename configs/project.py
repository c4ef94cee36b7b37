"""The project file: one frozen value that describes a model from its data to its production endpoint.

Every class forbids unknown keys, so a typing error fails at load and never becomes a silent default.
Names follow SageMaker where the same thing is meant (`instance_count`, `evaluation_periods`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from configs.bias import Groups
from configs.hosting import Asynchronous, Capture, Container, Explain, Scaling, Serverless
from configs.monitor import Monitor
from configs.quantity import Duration, Percent, Share
from configs.section import Dotted, Name, Section, Variable


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


class RiskRule(Section):
    """One condition on an evidence metric under which no person needs to be asked."""

    metric: str
    """Name in the evidence, for example `roc_auc` or `champion.roc_auc.difference`."""
    min: float | None = None
    """Smallest value that counts as low risk."""
    max: float | None = None
    """Largest value that counts as low risk."""


class Approval(Section):
    """Who may approve, on which evidence."""

    approvers: tuple[str, ...] = ()
    """Names that may approve; empty means anybody who can reach the registry."""
    required_evidence: tuple[str, ...] = ("validation", "evaluation", "gate", "package")
    """Kinds of evidence a version must carry before it can be approved."""
    persons: int = Field(default=1, ge=1, le=2)
    """Two means that two different people must approve."""
    self_approval: bool = True
    """False forbids the person who built a version to approve it."""
    allow_unauthenticated: bool = True
    """False refuses a tag set in a registry UI that knows no users."""
    automatic: tuple[RiskRule, ...] = ()
    """Approve without a person when every rule holds; empty means never."""


class LatencyBudget(Section):
    """Short load on the staging endpoint and what it may take."""

    p99: Duration = timedelta(milliseconds=250)
    """Longest 99th percentile."""
    requests: int = Field(default=200, ge=1, le=100_000)
    """How many requests are sent."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """How many at a time."""


class Case(Section):
    """A request of the user's own and what must come back."""

    name: str
    """Shown in the report."""
    body: Any
    """The request: text as it stands, anything else as JSON."""
    content_type: str = "application/json"
    """`Content-Type` of the request."""
    status: int = Field(default=200, ge=100, le=599)
    """Status the model must answer with."""
    contains: str | None = None
    """Text that must occur in the answer."""


class EndpointTests(Section):
    """What is asked of the staging endpoint before production."""

    latency: LatencyBudget = LatencyBudget()
    """Budget under a short load."""
    tolerance: float = Field(default=1e-5, gt=0)
    """Largest difference from the predictions recorded in the package."""
    cases: tuple[Case, ...] = ()
    """The user's own."""


class AllAtOnce(Section):
    """Blue/green: all traffic moves in one step."""

    type: Literal["all_at_once"]
    bake: Duration = timedelta()
    """How long the new version is judged at full weight."""


class Canary(Section):
    """Weights in growing steps, each held for `bake`."""

    type: Literal["canary"]
    weights: tuple[Percent, ...] = Field(min_length=1)
    """Traffic of the new version at each step; 100% is added at the end when it is missing."""
    bake: Duration
    """How long each step is held and judged."""


class Linear(Section):
    """Equal steps up to 100%."""

    type: Literal["linear"]
    step: Annotated[Percent, Field(ge=1)]
    """Size of one step."""
    bake: Duration
    """How long each step is held and judged."""


class Rolling(Section):
    """Replace instances batch by batch, so that only one batch of spare capacity is needed."""

    type: Literal["rolling"]
    batch: Annotated[Percent, Field(ge=5, le=50)]
    """Share of the instances replaced at a time, 5% to 50%."""
    bake: Duration
    """How long each batch is held and judged."""


class Shadow(Section):
    """Copy traffic to the new version and discard its answers."""

    type: Literal["shadow"]
    share: Percent = 100
    """Share of the live traffic that is copied."""
    bake: Duration
    """How long."""


Strategy = Annotated[AllAtOnce | Canary | Linear | Rolling | Shadow, Field(discriminator="type")]


class Probation(Section):
    """After the last step the previous version stays warm as a concurrent control."""

    duration: Duration
    """How long."""
    control: Percent = 5
    """Traffic the previous version keeps meanwhile."""


class Rollout(Section):
    """How a new version takes over an endpoint."""

    strategy: tuple[Strategy, ...] = Field(min_length=1)
    """They follow each other: a shadow, then a canary, is a strategy."""
    termination_wait: Duration = timedelta(seconds=30)
    """Final bake at full weight, with the old version still warm."""
    maximum_execution_timeout: Duration = timedelta(hours=2)
    """After this long without a decision the rollout rolls back."""
    probation: Probation | None = None
    """Longer watch with a concurrent control, before the last step to 100%."""


class Judge(Section):
    """The always-valid comparison of the canary with the version that serves beside it."""

    alpha: Share = 0.05
    """Chance that a harmless version is rolled back, however often one looks."""
    margin: float = Field(default=1.0, ge=1.0)
    """Risk ratio (new to old) that still counts as harmless."""
    min_requests: int = Field(default=50, ge=1)
    """Answers of the new version needed in a step before it may pass."""
    latency_quantile: Share = 0.95
    """An answer is slow when it takes longer than this quantile of the old version, frozen at the start."""
    latency_margin: float = Field(default=2.0, ge=1.0)
    """Risk ratio of slow answers that still counts as harmless."""
    latency_floor: Duration = timedelta(milliseconds=10)
    """Nothing faster than this is slow, whatever the old version does."""
    require_safe: bool = False
    """True demands certified evidence that the risk ratio stays below `safe_ratio` before each step up."""
    safe_ratio: float = Field(default=2.0, gt=1.0)
    """The risk ratio to rule out when `require_safe` is set."""


class Alarm(Section):
    """A threshold alarm with CloudWatch's meaning of its fields."""

    name: Name
    """Shown when it fires."""
    metric: str
    """`error_rate`, `error_4xx_rate`, `error_5xx_rate`, `latency`, `requests`, `refused`,
    or a gateway counter."""
    statistic: Literal["average", "sum", "p50", "p90", "p95", "p99"] = "average"
    """How the samples of a period become one number; latency is in milliseconds."""
    threshold: float
    """The number compared with."""
    comparison: Literal[
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
    ] = "GreaterThanThreshold"
    period: Duration = timedelta(seconds=60)
    """Length of one period."""
    evaluation_periods: int = Field(default=1, ge=1)
    """How many of the latest periods are looked at."""
    datapoints_to_alarm: int | None = Field(default=None, ge=1)
    """How many of them must breach; all when not given."""
    treat_missing_data: Literal["missing", "breaching", "notBreaching", "ignore"] = "missing"
    """What a period without data counts as."""
    scope: Literal["variant", "endpoint"] = "variant"
    """The new version alone, or old and new together."""

    @model_validator(mode="after")
    def _datapoints_fit(self) -> Self:
        if self.datapoints_to_alarm and self.datapoints_to_alarm > self.evaluation_periods:
            raise ValueError("datapoints_to_alarm must not exceed evaluation_periods")
        return self


class Staging(Section):
    """The endpoint a version must pass before it sees production traffic."""

    endpoint: Name
    """Name of the endpoint."""
    instance_count: int = Field(default=1, ge=1, le=64)
    """Model servers behind it."""
    tests: EndpointTests = EndpointTests()
    """What it must answer."""


class Production(Section):
    """The endpoint that users call."""

    endpoint: Name
    """Name of the endpoint."""
    instance_count: int = Field(default=2, ge=1, le=64)
    """Model servers behind it; a serverless endpoint has one, which starts others itself."""
    approval: bool = False
    """Ask a person a second time, between staging and production."""
    rollout: Rollout
    """How a new version takes over."""
    judge: Judge = Judge()
    """How it is compared with the old one."""
    alarms: tuple[Alarm, ...] = ()
    """Thresholds that roll back on their own."""
    sticky: str = Field(default="", pattern=r"^$|^(header|cookie):\S+$")
    """`header:NAME` or `cookie:NAME` that identifies a client: it keeps its version while weights allow."""
    capture: Capture | None = None
    """Keep requests and answers; nothing is kept without it."""
    explain: Explain | None = None
    """Add attributions to answers; none without it."""
    serverless: Serverless | None = None
    """Model servers on demand, down to none; `instance_count` always on without it."""
    asynchronous: Asynchronous | None = None
    """Take asynchronous calls, and no others."""
    notify: tuple[Variable, ...] = ()
    """Environment variables `env:NAME` that hold Apprise addresses, told of promotions and rollbacks."""

    @property
    def most_instances(self) -> int:
        """The most instances that a version of it ever has."""
        return self.scaling.max_instances if self.scaling else self.instance_count

    @property
    def scaling(self) -> Scaling | None:
        """How the number of instances follows the backlog, if it does."""
        return self.asynchronous.scaling if self.asynchronous else None

    @property
    def serverless_instances(self) -> int:
        """Instances that the file asks for although model servers start on demand; 0 when it says nothing."""
        return self.instance_count if self.serverless and "instance_count" in self.model_fields_set else 0

    @model_validator(mode="after")
    def _scaling_fits(self) -> Self:
        if self.scaling is None:
            return self
        if self.serverless:
            raise ValueError("a serverless endpoint starts model servers itself; remove asynchronous.scaling")
        low, high = max(1, self.scaling.min_instances), self.scaling.max_instances
        if not low <= self.instance_count <= high:
            raise ValueError(
                f"instance_count {self.instance_count} is where scaling begins; set it to {low} to {high}"
            )
        return self


_SETTABLE = {"SEAWAY_MAX_HOP_PAYLOAD_IN_MB", "SEAWAY_MULTI_MODEL_MEMORY_IN_MB"}
_PLATFORM_S = {"SAGEMAKER_BASE_DIR", "SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MULTI_MODEL"}


class Hosting(Section):
    """What a version needs to be approved and to run, wherever its package comes from."""

    name: Name
    """The project."""
    model: Name
    """Name of the registered model."""
    description: str = ""
    """One sentence for people who decide."""
    approval: Approval = Approval()
    staging: Staging
    production: Production
    monitor: Monitor | None = None
    """Watch the production endpoint; nobody watches without it."""
    target: Literal["local", "docker"] | None = None
    """Where endpoints run: processes of this machine, or containers of its Docker engine; the platform's own
    choice (`SEAWAY_TARGET`, or local) when not given."""
    container: Container = Container()
    """How model servers run when the target is Docker."""
    environment: dict[str, str] = {}
    """Variables of every model server, for example `SAGEMAKER_MODEL_SERVER_TIMEOUT: "20"`; no secrets."""

    @model_validator(mode="after")
    def _own_variables(self) -> Self:
        for name in self.environment:
            if not name.isidentifier():
                raise ValueError(f"environment: {name!r} is no name of a variable")
            if name in _PLATFORM_S or (name.startswith("SEAWAY_") and name not in _SETTABLE):
                raise ValueError(f"environment: {name} is set by the platform; remove it")
        return self

    @model_validator(mode="after")
    def _monitor_sees(self) -> Self:
        watched = self.production.capture
        if self.monitor and not self.production.serverless:
            if not watched:
                raise ValueError("monitor reads captured requests and answers; add production.capture: {}")
            if watched.mode != "InputAndOutput":
                raise ValueError(f"monitor needs requests and answers; remove capture.mode: {watched.mode}")
        return self

    @model_validator(mode="after")
    def _endpoints_differ(self) -> Self:
        if self.staging.endpoint == self.production.endpoint:
            raise ValueError("staging and production need different endpoint names")
        return self


class Project(Hosting):
    """A whole project; `seaway register` needs none of data, process and train."""

    data: Data
    process: Process
    validation: Validate = Field(default=Validate(), alias="validate")
    train: Train
    evaluate: Evaluate = Evaluate()
    gate: tuple[Gate, ...] = ()
    """All must pass, or the build ends before registration."""
    package: Package = Package()

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="after")
    def _monitor_knows_its_columns(self) -> Self:
        inputs = {*self.data.features.numeric, *self.data.features.categorical}
        named = self.monitor.columns if self.monitor else ()
        if unknown := sorted({name for name in named if name not in inputs and not name.startswith("@")}):
            raise ValueError(f"monitor names columns that are no inputs: {', '.join(unknown)}; correct them")
        return self
