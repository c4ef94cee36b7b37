from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.pipeline import stages
from serving.pipeline.stages import Stage
from tests.integration.test_multimodel import MANY, ROWS, labels, target
from tests.integration.test_multimodel import root as root  # noqa: PLC0414 - the fixture
from tests.integration.test_pipeline import serving
from tests.processes import until

pytestmark = pytest.mark.integration
SLOW = "import time, pathlib\ndef model_fn(folder):\n    while not (pathlib.Path(folder) / 'go').exists(): time.sleep(0.01)\n"


def test_the_management_calls(root: Path) -> None:
    with serving(root, SAGEMAKER_MULTI_MODEL=MANY) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wanted = {"model_name": "m1", "url": f"{root}/unpacked"}
            assert client.post("/models", json=wanted).status_code == 200
            assert client.post("/models", json=wanted).status_code == 409
            assert labels(client.post("/models/m1/invoke", json=ROWS)) == [1, 0]
            shown = {"modelName": "m1", "modelUrl": f"{root}/unpacked"}
            assert client.get("/models").json() == {"models": [shown]}
            assert client.get("/models?next_page_token=bTE=").json() == {"models": []}
            assert client.get("/models/m1").json() == shown
            assert "seaway_models_loaded 1\n" in client.get("/metrics").text
            assert client.delete("/models/m1").status_code == 200
            assert client.post("/models/m1/invoke", json=ROWS).status_code == 404
            assert client.get("/model").status_code == 404
            odd = {"modelName": "a/100%25?", "modelUrl": f"{root}/unpacked"}
            asked = {"model_name": odd["modelName"], "url": odd["modelUrl"]}
            assert client.post("/models", json=asked).json() == odd
            for path in ("/models/a%2F100%2525%3F", "/models/a/100%2525%3F"):
                assert client.get(path).json() == odd
                assert labels(client.post(f"{path}/invoke", json=ROWS)) == [1, 0]
            assert client.delete("/models/a%2F100%2525%3F").status_code == 200
            assert client.get("/models/a%2F100%2525%3F").status_code == 404
            assert client.put("/models").status_code == 405


def test_a_load_does_not_stop_other_models(root: Path) -> None:
    slow = root / "slow"
    (slow / "code").mkdir(parents=True)
    (slow / "code/inference.py").write_text(SLOW + "    return 1\ndef predict_fn(x, m): return [m]\n")
    with serving(root, SAGEMAKER_MULTI_MODEL=MANY) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert labels(client.post("/invocations", json=ROWS, headers=target("unpacked"))) == [1, 0]
            with ThreadPoolExecutor(1) as pool:
                begun = pool.submit(client.post, "/invocations", json=[1], headers=target("slow"))
                for _ in range(20):
                    assert labels(client.post("/invocations", json=ROWS, headers=target("unpacked"))) == [
                        1,
                        0,
                    ]
                    assert not begun.done()
                (slow / "go").touch()
                until(begun.done)
                assert begun.result().json() == [1]


def test_ping_asks_stages_elsewhere(tmp_path: Path) -> None:
    script = "def model_fn(folder): return None\ndef predict_fn(x, m): return x\n"
    for number in (1, 2):
        (tmp_path / f"stages/{number}/code").mkdir(parents=True)
        (tmp_path / f"stages/{number}/code/inference.py").write_text(script)
    with contextlib.ExitStack() as near:
        with serving(tmp_path / "stages/2") as far:
            listed = [Stage("one", "stages/1"), Stage("two", url=f"http://127.0.0.1:{far}")]
            (tmp_path / "pipeline.json").write_bytes(stages.write(listed))
            url = f"http://127.0.0.1:{near.enter_context(serving(tmp_path))}"
            assert httpx.get(f"{url}/ping").status_code == 200
            assert httpx.post(f"{url}/invocations", json=[1]).json() == [[1.0]]
            assert 'seaway_stage_calls_total{stage="two"} 1' in httpx.get(f"{url}/metrics").text
        gone, lost = httpx.get(f"{url}/ping"), httpx.post(f"{url}/invocations", json=[1])
        assert (gone.status_code, lost.status_code) == (503, 503)
        assert gone.json()["error"].startswith('stage "two": http://127.0.0.1')
        assert lost.json()["error"].startswith('stage "two" (2 of 2): http://127.0.0.1')
