"""How a production endpoint is watched: what is compared, how often, and what follows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)

from configs.bias import Groups
from configs.cron import Cron
from configs.quantity import Duration, Share, format_duration, parse_duration
from configs.section import Name, Section, Variable

Kind = Literal["DataQuality", "ModelQuality", "ModelBias", "ModelExplainability"]
"""SageMaker's MonitoringType."""
Operator = Literal["GreaterThanThreshold", "LessThanThreshold"]
"""A violation is a figure on this side of the threshold."""
Method = Literal[
    "Simple",
    "Robust",
    "Auto",
    "KolmogorovSmirnov",
    "PSI",
    "JensenShannon",
    "Hellinger",
    "TotalVariation",
    "Wasserstein",
]
"""How numbers are compared with the baseline; the first two are SageMaker's."""
CategoricalMethod = Literal[
    "LInfinity", "ChiSquared", "Auto", "Homogeneity", "PSI", "JensenShannon", "Hellinger", "TotalVariation"
]
"""How categories are compared; the first two are SageMaker's."""
_NAMED = {"hourly": "cron(0 * ? * * *)", "daily": "cron(0 0 ? * * *)"}
_OFFSET = re.compile(r"-?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _offset(value: Any) -> Any:
    """SageMaker's `-PT1H`, or `1h`; both mean so long before the scheduled time."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no offset; write for example 1h, 8d or -PT1H")  # noqa: TRY004 (pydantic)
    if (found := _OFFSET.fullmatch(value)) and any(found.groups()):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError(f"{value!r} is no offset; write for example 1h, 8d or -PT1H") from None


Offset = Annotated[
    timedelta,
    BeforeValidator(_offset),
    Field(ge=timedelta()),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["1h", "8d", "-PT1H"]}),
]
"""Time before the scheduled time."""


def _expression(text: str) -> str:
    if text not in _NAMED:
        if not text.startswith("cron("):
            raise ValueError(f"{text!r} is no schedule; write hourly, daily, cron(0 * ? * * *) or every: 15m")
        Cron.parse(text)
    return text


class Every(Section):
    """A fixed period, counted from midnight UTC."""

    every: Annotated[Duration, Field(ge=timedelta(minutes=1), le=timedelta(days=30))]
    """Its length, from one minute to 30 days."""


Schedule = Annotated[
    Annotated[str, AfterValidator(_expression), Tag("expression")] | Annotated[Every, Tag("every")],
    Discriminator(lambda value: "expression" if isinstance(value, str) else "every"),
]
"""`hourly`, `daily`, SageMaker's `cron(...)` in UTC, or `every: 15m`."""


def cron_of(schedule: str) -> Cron:
    """The expression, also of `hourly` and `daily`."""
    return Cron.parse(_NAMED.get(schedule, schedule))


def latest(schedule: str | Every, moment: datetime) -> datetime | None:
    """The last scheduled time not later than a moment; None when there was none."""
    if isinstance(schedule, Every):
        return _EPOCH + (moment - _EPOCH) // schedule.every * schedule.every
    return cron_of(schedule).latest(moment)


def following(schedule: str | Every, moment: datetime) -> datetime | None:
    """The first scheduled time later than a moment; None when there is none any more."""
    if isinstance(schedule, Every):
        return _EPOCH + ((moment - _EPOCH) // schedule.every + 1) * schedule.every
    return cron_of(schedule).after(moment)


class _Timed(Section):
    """When one kind of monitor runs and what it looks at; the section's own values when not given."""

    schedule: Schedule | None = None
    """When it runs; as the whole section when not given."""
    start_time_offset: Offset | None = None
    """The window begins so long before the scheduled time; as the whole section when not given."""
    end_time_offset: Offset | None = None
    """The window ends so long before the scheduled time; as the whole section when not given."""


class FeatureRule(Section):
    """What is different for one column; everything else is as for all columns."""

    comparison_threshold: float | None = Field(default=None, ge=0)
    """Largest distance from the baseline."""
    comparison_method: Method | None = None
    """`Robust` takes off what chance alone explains."""
    categorical_drift_method: CategoricalMethod | None = None
    """Distance of text columns; tests, such as `ChiSquared`, compare a p-value with the threshold."""
    datatype_check_threshold: Share | None = None
    """Smallest share of values of the expected type."""
    domain_content_threshold: Share | None = None
    """Smallest share of values that the baseline has."""
    completeness: Share | None = None
    """Smallest share of values that are not missing."""
    domains: tuple[str, ...] | None = None
    """The values that are expected."""
    is_non_negative: bool | None = None
    """True forbids negative numbers."""
    perform_comparison: bool = True
    """False compares no distribution."""


class OverTime(Section):
    """Drift over all windows together, under one error rate for as long as a version is watched."""

    alpha: Annotated[Share, Field(gt=0, lt=1)] = 0.05
    """Probability, at most, that a version whose inputs stay as they were ever raises this alarm."""
    tolerance: float = Field(default=0.02, ge=0, lt=0.5)
    """Change of a share of a half that counts as none; of rarer values accordingly less."""
    rows_per_source: float = Field(default=1.0, ge=1)
    """Rows that come together as one, for example requests of one visitor; they count once."""
    exclude: tuple[str, ...] = ()
    """Columns that are not watched, for example those that follow the hour of the day."""


class DataQuality(_Timed):
    """Inputs against the baseline: types, missing values, unknown values, shifted distributions."""

    comparison_threshold: float = Field(default=0.1, ge=0)
    """Largest distance from the baseline."""
    comparison_method: Method = "Robust"
    """`Robust` takes off what chance alone explains."""
    categorical_comparison_threshold: float | None = Field(default=None, ge=0)
    """The same for text columns; `comparison_threshold` when not given."""
    categorical_drift_method: CategoricalMethod = "LInfinity"
    """Distance of text columns; tests, such as `ChiSquared`, compare a p-value with the threshold."""
    datatype_check_threshold: Share = 1.0
    """Smallest share of values of the expected type."""
    domain_content_threshold: Share = 1.0
    """Smallest share of values that the baseline has."""
    strict_types: bool = False
    """True takes only the very type of the baseline: no whole number as Fractional, no number as String."""
    perform_comparison: bool = True
    """False compares no distributions."""
    mode: Literal["evidence", "sagemaker"] = "evidence"
    """`evidence` wants a share worse than the baseline's by more than chance, `sagemaker` any worse one."""
    alpha: Annotated[Share, Field(gt=0, lt=1)] = 0.05
    """Share of windows, at most, in which chance alone violates a check of shares or of rows."""
    features: dict[str, FeatureRule] = {}
    """Columns for which something else holds."""
    exclude: tuple[str, ...] = ()
    """Columns that are not looked at."""
    row_outliers: bool = True
    """Score rows with the isolation forest of the baseline, also those with usual values in every column."""
    multivariate: bool = True
    """Rebuild rows from principal components of the baseline: do the columns still go together?"""
    over_time: OverTime | None = OverTime()
    """The alarm over all windows together; null switches it off."""


class Limit(Section):
    """When a figure of model quality is a violation."""

    threshold: float
    """The number compared with."""
    comparison_operator: Operator | None = None
    """On which side a violation lies; the worse side of the metric when not given."""


class ModelQuality(_Timed):
    """Predictions against what really happened, and an estimate for as long as that is not known."""

    constraints: dict[str, Limit] = {}
    """By metric, for example `f1` or `rmse`; the figures of the hold-out when not given."""
    label_wait: Duration = timedelta(days=7)
    """Labels that arrive within this time change the windows they belong to."""
    minimum_coverage: Share = 0.0
    """Windows with labels for a smaller share of their rows are not judged."""
    mode: Literal["evidence", "sagemaker"] = "evidence"
    """`evidence` wants a figure worse than the hold-out by more than chance, `sagemaker` any worse one."""
    constant_class: str = ""
    """What the best constant classifier says: `"1"` as in SageMaker; the majority when empty."""


class Bias(Groups, _Timed):
    """Differences between groups, compared with those in the baseline."""

    allowed: dict[str, tuple[float, float]] = {}
    """By metric, what it may be whatever the baseline says; violated when its interval lies outside."""
    label_wait: Duration = timedelta(days=7)
    """Labels that arrive within this time change the windows they belong to."""


class Explainability(_Timed):
    """What the model relies on, compared with what it relied on in the baseline."""

    threshold: Share = 0.9
    """A smaller NDCG is a violation."""
    rows: int = Field(default=1000, ge=10, le=100_000)
    """Rows of a window that are explained, chosen by a fixed seed."""
    method: Literal["auto", "tree", "exact", "kernel"] = "auto"
    """TreeSHAP for tree models, all coalitions for few inputs, KernelSHAP for the rest."""


class MonitorAlarm(Section):
    """When violations in a row, or among the latest executions, become an alarm, and what it does."""

    name: Name
    """Shown when it fires."""
    monitor: Kind
    """Whose executions are looked at."""
    figure: str = ""
    """Only what concerns this figure, for example `feature_baseline_drift_age`; any violation when empty."""
    min: float | None = None
    """With `figure`: a smaller value breaches."""
    max: float | None = None
    """With `figure`: a larger value breaches."""
    datapoints_to_alert: int = Field(default=1, ge=1, le=100)
    """So many breaching executions …"""
    evaluation_period: int = Field(default=1, ge=1, le=100)
    """… among the latest so many."""
    actions: tuple[Literal["notify", "retrain", "rollback"], ...] = ("notify",)
    """What happens when the alarm begins."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.datapoints_to_alert > self.evaluation_period:
            raise ValueError("datapoints_to_alert must not exceed evaluation_period")
        if (self.min is not None or self.max is not None) and not self.figure:
            raise ValueError("min and max need figure; name the figure they are about")
        return self


class Retraining(Section):
    """What a better version is worth, and its cost; an alarm with `retrain` trains only when that pays."""

    metric: str = "accuracy"
    """Figure of model quality that is priced."""
    value: float = Field(gt=0)
    """Worth of one point of it for one prediction: of accuracy, what one wrong prediction costs."""
    cost: float = Field(ge=0)
    """Of a new version: computing, review and rollout, in the same unit."""
    horizon: Duration = timedelta(days=30)
    """How long a new version would serve."""
    recoverable: Share = 0.8
    """Part of what was lost that a new version is expected to win back."""
    cool_down: Duration = timedelta(days=7)
    """Least time between two retrainings."""
    minimum_labels: int = Field(default=200, ge=1)
    """Fewer labelled predictions say too little."""
    minimum_coverage: Share = 0.0
    """Smallest share of predictions with labels."""
    project: str = ""
    """Project file to build, beside the one that was built before; that one itself when empty."""


class Guard(Section):
    """Hold the version that serves against the one before it, on the rows whose labels came late."""

    alpha: Share = 0.05
    """Risk of calling it worse when it is not, however often one looks."""
    minimum_labels: int = Field(default=50, ge=1)
    """Fewer labelled rows decide nothing."""
    look_back: Duration = timedelta(days=30)
    """Rows are compared for so long after the promotion."""
    action: Literal["rollback", "notify"] = "rollback"
    """What follows when it is worse."""


class CloudWatch(Section):
    """Figures in Amazon CloudWatch, named as Model Monitor names them; needs boto3, of the extra `s3`."""

    region: str = Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-\d+$")
    """For example `eu-central-1`."""
    endpoint_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Another address than AWS's own, for example of a VPC endpoint; credentials are found as boto3 does."""
    namespace: str = Field(default="aws/sagemaker/Endpoints", pattern=r"^[\x21-\x39\x3b-\x7e]{1,200}$")
    """First part of the namespace; `data-metrics`, `model-metrics` and so on follow it, as the kind is."""


class Monitor(Section):
    """Watch what the production endpoint captures."""

    schedule: Schedule = "hourly"
    """`hourly`, `daily`, SageMaker's `cron(...)` in UTC, or `every: 15m`."""
    start_time_offset: Offset | None = None
    """A window begins so long before the scheduled time; at the previous scheduled time when not given."""
    end_time_offset: Offset = timedelta()
    """A window ends so long before the scheduled time."""
    catch_up: int = Field(default=24, ge=0, le=1000)
    """Most windows that were missed, for example while the machine was off, and are made up for."""
    data_quality: DataQuality | None = DataQuality()
    """Inputs against the baseline; null switches it off."""
    model_quality: ModelQuality | None = None
    """Predictions against labels; off when not given."""
    bias: Bias | None = None
    """Differences between groups; off when not given."""
    explainability: Explainability | None = None
    """What the model relies on; off when not given."""
    alarms: tuple[MonitorAlarm, ...] = ()
    """What violations lead to."""
    retraining: Retraining | None = None
    """When retraining pays; without it an alarm with `retrain` always trains."""
    guard: Guard | None = None
    """Whether the version before was better, once labels are known; off when not given."""
    cloudwatch: CloudWatch | None = None
    """Sends the figures of every execution to CloudWatch as well; not when not given."""
    preprocess: str = ""
    """Script beside the project file whose `preprocess_handler(record)` makes rows of captured records."""
    notify: tuple[Variable, ...] = ()
    """Environment variables `env:NAME` that hold Apprise addresses; those of production when empty."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [alarm.name for alarm in self.alarms]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"alarms named twice: {', '.join(doubled)}")
        on = self.kinds
        if not on:
            raise ValueError("every kind of monitor is switched off; remove the section, or switch one on")
        for alarm in self.alarms:
            if alarm.monitor not in on:
                raise ValueError(f"alarm {alarm.name} looks at {alarm.monitor}, which is switched off")
        for kind in on:
            start, end = self.offsets(kind)
            if start is not None and start <= end:
                raise ValueError(f"{kind}: start_time_offset must be longer than end_time_offset")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are switched on."""
        return tuple(kind for kind in _SECTIONS if self._section(kind))

    @property
    def columns(self) -> tuple[str, ...]:
        """Inputs that the section names."""
        quality, bias = self.data_quality, self.bias
        found = [*quality.features, *quality.exclude] if quality else []
        if bias:
            found += [
                *(facet.name for facet in bias.facets),
                *bias.features,
                *([bias.group] if bias.group else []),
            ]
        return tuple(found)

    @property
    def label_wait(self) -> timedelta:
        """The longest time within which labels change something."""
        waits = [one.label_wait for one in (self.model_quality, self.bias) if one]
        waits += [self.guard.look_back] if self.guard else []
        return max(waits, default=timedelta())

    def when(self, kind: Kind) -> str | Every:
        """The schedule of a kind."""
        section = self._section(kind)
        return section.schedule if section and section.schedule is not None else self.schedule

    def offsets(self, kind: Kind) -> tuple[timedelta | None, timedelta]:
        """Begin and end of a window before the scheduled time; no begin: the previous scheduled time."""
        section = self._section(kind)
        start = section.start_time_offset if section else None
        end = section.end_time_offset if section else None
        return (
            self.start_time_offset if start is None else start,
            self.end_time_offset if end is None else end,
        )

    def _section(self, kind: Kind) -> _Timed | None:
        found: _Timed | None = getattr(self, _SECTIONS[kind])
        return found


_SECTIONS: dict[Kind, str] = {
    "DataQuality": "data_quality",
    "ModelQuality": "model_quality",
    "ModelBias": "bias",
    "ModelExplainability": "explainability",
}
