from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving import contract
from serving.errors import ManifestInvalid, PackageDamaged, ServingError
from serving.handlers.responder import ScriptResponder
from serving.loading import load
from serving.multimodel import index
from serving.multimodel.responder import MultiModelResponder
from serving.responder import Request
from tests.fakes import model as fakes


class Counts:
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.ones(len(rows))


def test_handlers_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(
        "def model_fn(folder):\n    return 2\n"
        "def transform_fn(model, body, kind, accept):\n    return str(model), 'text/plain'\n"
    )
    responder = load(tmp_path, {})
    assert isinstance(responder, ScriptResponder)
    assert responder.respond(Request(b"x", "text/plain", "text/plain")).body == b"2"


def test_the_environment_decides_how_a_package_is_transformed(tmp_path: Path) -> None:
    manifest = replace(fakes.manifest("regression"), runtime="pickle", allow_pickle=True)
    (tmp_path / "seaway.json").write_bytes(manifest.to_json())
    (tmp_path / "sample.json").write_text('{"request": [[1, 2, "UA"]]}')
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Counts()))
    given = {"SAGEMAKER_BATCH_STRATEGY": "SingleRecord", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "8"}
    allowed = {"SEAWAY_ALLOW_PICKLE": "1"}
    assert load(tmp_path, allowed).execution_parameters == {
        "MaxConcurrentTransforms": 1,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 25,
    }
    asked = {**allowed, **given, "SAGEMAKER_MAX_PAYLOAD_IN_MB": "2"}
    assert load(tmp_path, asked).execution_parameters == {
        "MaxConcurrentTransforms": 8,
        "BatchStrategy": "SINGLE_RECORD",
        "MaxPayloadInMB": 2,
    }
    with pytest.raises(ServingError, match="SAGEMAKER_BATCH_STRATEGY"):
        load(tmp_path, {**allowed, "SAGEMAKER_BATCH_STRATEGY": "all"})


def test_a_list_of_models_makes_a_folder_many(tmp_path: Path) -> None:
    (tmp_path / "team" / "own" / "code").mkdir(parents=True)
    (tmp_path / "team" / "own" / "code" / "inference.py").write_text(
        "def model_fn(folder): return None\n"
        "def transform_fn(model, body, kind, accept): return body, 'text/plain'\n"
    )
    (tmp_path / "models.json").write_bytes(index.write(["team/own"]))
    assert index.read(tmp_path) == ("team/own",)
    responder = load(tmp_path, {})
    assert isinstance(responder, MultiModelResponder)
    headers = {contract.TARGET_MODEL: "team/own"}
    assert responder.respond(Request(b"x", "text/plain", "", headers)).body == b"x"
    assert responder.respond(Request(b"x", headers={contract.TARGET_MODEL: "models.json"})).status == 404
    with pytest.raises(ServingError, match="SEAWAY_EXPLAIN"):
        load(tmp_path, {"SEAWAY_EXPLAIN": "{}"})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2, "models": ["a"]}', '{"format": 1, "models": [1]}']
)
def test_a_list_of_models_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(ManifestInvalid, match=r"models\.json"):
        load(tmp_path, {})


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PackageDamaged, match=r"seaway\.json.*pipeline\.json.*code/inference\.py"):
        load(tmp_path, {})
    with pytest.raises(ServingError, match="SAGEMAKER_MULTI_MODEL"):
        load(tmp_path, {"SAGEMAKER_MULTI_MODEL": "perhaps"})
