"""The compiled model in MLServer: it has no runtime for ONNX, so a class of one's own, as it documents."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.peers.apps import model


class Compiled(MLModel):
    """One tensor per column, as the scikit-learn runtime takes them."""

    async def load(self) -> bool:
        self._predict = model.compiled()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = {
            item.name: (StringCodec if item.datatype == "BYTES" else NumpyCodec).decode_input(item)
            for item in payload.inputs
        }
        output = NumpyCodec.encode_output("predict_proba", self._predict(columns))
        return InferenceResponse(model_name=self.name, outputs=[output])
