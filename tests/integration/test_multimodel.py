from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from serving import package
from steps.pack import pack
from tests.integration.test_pipeline import serving

pytestmark = pytest.mark.integration
ROWS = {"instances": [{"a": 1.0}, {"a": -1.0}]}
MANY = "true"


def target(key: str) -> dict[str, str]:
    return {"X-Amzn-SageMaker-Target-Model": key}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packages as archives, one of them unpacked too, and a script."""
    root = tmp_path_factory.mktemp("models")
    for number, name in enumerate(("up", "down")):
        frame = pd.DataFrame({"a": np.linspace(-2, 2, 100)})
        fitted = LogisticRegression().fit(frame, (frame.a > 0).astype(int) ^ number)
        folder = tmp_path_factory.mktemp(name)
        made = pack(fitted, frame, name=name, task="binary", features=("a",), trained_on=frame, folder=folder)
        (root / "team").mkdir(exist_ok=True)
        shutil.copy(made.archive, root / "team" / f"{name}.tar.gz")
    archive = root / "team/up.tar.gz"
    package.unpack(archive, root / "unpacked", package.digest(archive))
    (root / "own/code").mkdir(parents=True)
    (root / "own/code/inference.py").write_text(
        "def model_fn(folder): return None\ndef predict_fn(x, m): return x\n"
    )
    (root / "broken").mkdir()
    (root / "broken/seaway.json").write_text("{}")
    return root


def labels(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [row["predicted_label"] for row in answer.json()["predictions"]]


def test_models_by_their_keys(root: Path) -> None:
    with serving(root, SAGEMAKER_MULTI_MODEL=MANY) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/ping").status_code == 200

            def ask(key: str) -> httpx.Response:
                return client.post("/invocations", json=ROWS, headers=target(key))

            assert labels(ask("team/up.tar.gz")) == labels(ask("unpacked")) == [1, 0]
            assert labels(ask("team/down.tar.gz")) == [0, 1]
            assert client.post("/invocations", json=[1, 2], headers=target("own")).json() == [[1.0, 2.0]]
            for key, status in (("team", 404), ("../secret", 400), ("broken", 500)):
                assert ask(key).status_code == status
            nameless = client.post("/invocations", json=ROWS)
            assert (nameless.status_code, nameless.headers["x-amzn-errortype"]) == (400, "ValidationError")
            keys = ["team/up.tar.gz", "team/down.tar.gz", "unpacked"] * 8
            with ThreadPoolExecutor(6) as pool:
                found = [labels(one) for one in pool.map(ask, keys)]
            assert found == [[1, 0], [0, 1], [1, 0]] * 8


def test_a_budget_for_one_model_still_serves_all(root: Path) -> None:
    with serving(root, SAGEMAKER_MULTI_MODEL=MANY, SEAWAY_MULTI_MODEL_MEMORY_IN_MB="0.0001") as port:
        refused = httpx.post(
            f"http://127.0.0.1:{port}/invocations", json=ROWS, headers=target("unpacked"), timeout=60
        )
        assert refused.status_code == 507
        assert "SEAWAY_MULTI_MODEL_MEMORY_IN_MB" in refused.json()["error"]
