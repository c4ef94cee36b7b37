from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import PackageDamaged, ServingError
from serving.handlers.responder import ScriptResponder
from serving.loading import load
from serving.responder import Request


def test_handlers_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(
        "def model_fn(folder):\n    return 2\n"
        "def transform_fn(model, body, kind, accept):\n    return str(model), 'text/plain'\n"
    )
    responder = load(tmp_path, {})
    assert isinstance(responder, ScriptResponder)
    assert responder.respond(Request(b"x", "text/plain", "text/plain")).body == b"2"


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PackageDamaged, match=r"seaway\.json.*pipeline\.json.*code/inference\.py"):
        load(tmp_path, {})
    with pytest.raises(ServingError, match="SAGEMAKER_MULTI_MODEL"):
        load(tmp_path, {"SAGEMAKER_MULTI_MODEL": "perhaps"})
