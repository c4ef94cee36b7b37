"""Errors of the build steps.

StepError
├── Temporary              worth another try: the flow retries it
│   ├── DataUnreachable    a source of data does not answer
│   └── StorageFull        the run folder cannot be written
└── Permanent              will fail the same way again
    ├── CodeFailed         a function of the project does not import, does not fit, or raised
    ├── DataRefused        the data are not what the project file says
    ├── ValidationBroken   an expectation could not be checked at all
    ├── TrainingFailed     the estimator does not import, does not take a hyperparameter, or does not fit
    └── EvaluationRefused  a metric, slice or gate makes no sense for this model or these rows
"""

from __future__ import annotations


class StepError(Exception):
    """Root of all errors of this package."""


class Temporary(StepError):
    """May succeed when repeated."""


class DataUnreachable(Temporary):
    """The source of a channel cannot be read at the moment."""


class StorageFull(Temporary):
    """The run folder cannot be written."""


class Permanent(StepError):
    """Repeating it changes nothing."""


class CodeFailed(Permanent):
    """A function of the project cannot be used."""


class DataRefused(Permanent):
    """The data are not what the project file says."""


class ValidationBroken(Permanent):
    """An expectation could not be checked."""


class TrainingFailed(Permanent):
    """No model came out of the training data."""


class EvaluationRefused(Permanent):
    """The evaluation asked for makes no sense here."""
