"""The responder of one model package: request format, columns, model, answer format."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from serving import codecs
from serving.answers import MIB
from serving.codecs import Columns
from serving.errors import UnsupportedContentType
from serving.predictor import Predictor
from serving.responder import Answer, Request

_BESIDE = frozenset({codecs.ARROW, codecs.NPZ, codecs.PARQUET})
"""Formats that are never read on the event loop: their library takes a while to import, or a small body may
unpack to a large one."""
_NONE: Mapping[str, object] = MappingProxyType({})


class ModelResponder:
    """Answers rows with one loaded model.

    `limit` is the largest body in bytes; no body may unpack to more values than that. `default_accept` is
    what an absent `Accept` means, the format of the request when empty. `quick` says that one small request
    takes so little time that waking another thread would cost more. `parameters` are execution parameters
    that go before the model's own.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        limit: int = 25 * MIB,
        default_accept: str = "",
        quick: bool = True,
        parameters: Mapping[str, object] = _NONE,
    ) -> None:
        self.predictor = predictor
        """The loaded model."""
        self.layout = codecs.Layout(predictor.manifest)
        """How its inputs are read."""
        self.limit = limit
        """Largest body in bytes, and most values in one."""
        self._default = default_accept
        self._quick = quick
        self._parameters = dict(parameters)
        codecs.answer_type(default_accept, codecs.JSON)

    def respond(self, request: Request) -> Answer:
        """See `serving.responder.Responder.respond`."""
        columns, accepted = self.read(request)
        answer = codecs.encode(self.predictor.predict(columns), accepted, self.predictor.manifest)
        return Answer(200, answer, accepted)

    def read(self, request: Request) -> tuple[Columns, str]:
        """The columns of a request, and the format its answer gets.

        Raises:
            RequestRefused: it cannot be read, or not be answered in a format that it accepts.
        """
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedContentType("the body has a Content-Encoding; send it without")
        media = codecs.media_type(request.content_type)
        accepted = codecs.answer_type(request.accept, media, self._default)
        return codecs.read(request.body, media, self.layout, self.limit), accepted

    def at_once(self, content_type: str) -> bool:
        """See `serving.app.AtOnce`: the model keeps nothing between calls."""
        if not self._quick:
            return False
        try:
            return codecs.media_type(content_type) not in _BESIDE
        except UnsupportedContentType:
            return True

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        """One request at a time, as many rows in it as fit, where nobody asked for something else."""
        size = self.limit / MIB
        return {
            "MaxConcurrentTransforms": 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": int(size) if size.is_integer() else size,
            **self._parameters,
        }
