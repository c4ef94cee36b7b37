from __future__ import annotations

import logging
from pathlib import Path

import pytest

from serving import contract, serve
from serving.environment import EnvironmentInvalid, execution_parameters, wanted


def test_defaults_are_the_contract_s() -> None:
    asked = wanted({}, 4)
    assert (asked.port, asked.workers, asked.timeout, asked.log_level) == (8080, 4, 60, logging.INFO)
    assert not asked.use_nginx
    assert contract.Tree.of({}).model_code == Path("/opt/ml/model/code")
    assert contract.Tree.of({"SAGEMAKER_BASE_DIR": "/x"}).failure == Path("/x/output/failure")


def test_variables_are_followed() -> None:
    asked = wanted(
        {
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "2",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "20",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "30",
            "SAGEMAKER_USE_NGINX": "True",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0.5",
        },
        1,
    )
    assert (asked.port, asked.workers, asked.timeout, asked.use_nginx) == (9000, 2, 30, True)
    assert asked.max_payload == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "-1"),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "nan"),
        ("SAGEMAKER_USE_NGINX", "maybe"),
    ],
)
def test_unusable_values_are_named(name: str, value: str) -> None:
    with pytest.raises(EnvironmentInvalid, match=name):
        wanted({name: value}, 1)


def test_execution_parameters() -> None:
    assert execution_parameters({}, 2) == {
        "MaxConcurrentTransforms": 2,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 6,
    }
    given = {"SAGEMAKER_BATCH_STRATEGY": "SingleRecord", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "8"}
    found = execution_parameters(given, 2)
    assert (found["BatchStrategy"], found["MaxConcurrentTransforms"]) == ("SINGLE_RECORD", 8)
    with pytest.raises(EnvironmentInvalid, match="MultiRecord"):
        execution_parameters({"SAGEMAKER_BATCH_STRATEGY": "all"}, 2)


def test_nginx_configuration_has_no_gap() -> None:
    text = serve.nginx_configuration(Path("/t"), Path("/t/s.sock"), "0.0.0.0:8080", wanted({}, 1))
    assert "${" not in text
    assert "listen 0.0.0.0:8080 deferred;" in text
    assert "server unix:/t/s.sock" in text
    assert "client_max_body_size 25m;" in text
    assert "proxy_set_header Host $http_host;" in text


@pytest.mark.parametrize(
    ("number", "level"), [("10", "debug"), ("20", "info"), ("35", "warning"), ("5", "debug")]
)
def test_server_command_carries_the_log_level(number: str, level: str) -> None:
    command = serve.server_command(
        Path("/m"), "0.0.0.0", wanted({"SAGEMAKER_CONTAINER_LOG_LEVEL": number}, 1)
    )
    assert command[-2:] == ["--log-level", level]


def test_many_models_get_one_worker(tmp_path: Path) -> None:
    asked = wanted({"SAGEMAKER_MODEL_SERVER_WORKERS": "4"}, 1)
    assert serve.workers(asked, tmp_path, {}) == 4
    assert serve.workers(asked, tmp_path, {"SAGEMAKER_MULTI_MODEL": "true"}) == 1
    (tmp_path / "models.json").write_text("{}")
    assert serve.workers(asked, tmp_path, {}) == 1
    command = serve.gunicorn_command(Path("/t/s.sock"), tmp_path, {}, asked)
    assert command[command.index("-w") + 1] == "1"
