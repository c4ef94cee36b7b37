"""Ray Serve in this process: one replica behind the HTTP proxy.

python -m benchmarks.serving.peers.apps.ray_serve PORT
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from benchmarks.serving.peers.apps import model

STORE_BYTES = 80 * 2**20
"""The smallest object store that Ray takes; requests of this size do not use it."""


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=100)
class Model:
    """Reads the records and answers the probabilities."""

    def __init__(self) -> None:
        self._predict = model.rows()

    async def __call__(self, request: Request) -> Any:
        content = await request.json()
        return JSONResponse(self._predict(content["rows"]).tolist())


def main(port: int) -> None:
    ray.init(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False, log_to_driver=False)
    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet)
    serve.run(Model.options(logging_config=quiet).bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
