"""A model responder whose answers say, for the rows a caller chooses, what each column contributed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving import codecs, contract
from serving.answers import JSON
from serving.codecs import Columns
from serving.errors import NotAcceptable, ServingError
from serving.explain import answer, selection
from serving.explain.explainer import Explained, Explainer
from serving.explain.game import linked
from serving.explain.settings import Player, Settings
from serving.model import ModelResponder
from serving.predictions import Predictions
from serving.predictor import Predictor
from serving.responder import Answer, Request

TEXT = (codecs.JSON, codecs.CSV, codecs.LINES)
"""Formats that predictions can have inside the answer."""

log = logging.getLogger("serving")


@dataclass(frozen=True, slots=True)
class Explaining:
    """How a responder explains."""

    explainer: Explainer
    players: Sequence[Player]
    settings: Settings
    seconds: float
    """What explaining one request may take."""
    fallback: str = ""
    """Why the explainer is not of the method that was asked for."""


class ExplainingResponder(ModelResponder):
    """Answers rows with one loaded model, and explains those that an expression chooses.

    The answer has another shape than that of a `ModelResponder`, whatever the expression chooses, as it is
    with SageMaker. The Open Inference Protocol answers as before, without explanations.
    """

    def __init__(
        self,
        predictor: Predictor,
        explaining: Explaining,
        *,
        limit: int,
        default_accept: str = "",
        parameters: Mapping[str, object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(
            predictor, limit=limit, default_accept=default_accept, quick=False, parameters=parameters
        )
        self._explaining = explaining
        self._clock = clock

    def respond(self, request: Request) -> Answer:
        """See `serving.responder.Responder.respond`."""
        began = self._clock()
        asked = request.headers.get(contract.ENABLE_EXPLANATIONS, self._explaining.settings.enable)
        selection.compiled(asked)
        columns, media = self.read(request)
        if media not in TEXT:
            if request.accept.strip() not in ("", "*/*"):
                raise NotAcceptable(f"explanations stand beside text only; accept one of {', '.join(TEXT)}")
            media = codecs.JSON
        predictions = self.predictor.predict(columns)
        data = codecs.encode(predictions, media, self.predictor.manifest)
        rows = selection.chosen(asked, data, media)
        left = self._explaining.seconds - (self._clock() - began)
        report = self._report(columns, rows, predictions, left)
        body = answer.body(
            data, media, len(predictions), report, self._explaining.players, self.predictor.manifest
        )
        return Answer(200, body, JSON, ((answer.EXPLANATIONS, report.header),))

    def _report(
        self, columns: Columns, rows: list[int], predictions: Predictions, seconds: float
    ) -> answer.Report:
        explaining = self._explaining
        explainer = explaining.explainer
        scores = linked(predictions.scores, logit=explaining.settings.use_logit)
        found: list[Explained | None] = []
        reason = explaining.fallback
        try:
            found = explainer.explain(columns, rows, scores, seconds)
        except ServingError as error:
            log.exception("explaining failed; the prediction is answered without")
            reason = f"the model cannot answer rows mixed with the baseline: {error}"
        explained = {row: one for row, one in zip(rows, found, strict=False) if one is not None}
        if found and len(explained) < len(rows):
            reason = f"no time for more within {explaining.seconds:g} s; choose fewer rows"
            log.warning("%d of %d rows explained: %s", len(explained), len(rows), reason)
        return answer.Report(explainer.method, explainer.expected, explained, len(rows), reason)
