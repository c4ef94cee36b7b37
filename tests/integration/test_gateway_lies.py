"""Containers that say in headers what only our own layers may: that no model failed, or to ask again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.layout import ACTIVATOR, SIDECAR
from deploy.port import Share
from tests.fakes.data_plane import order
from tests.fakes.stage import ENDPOINT, RETRIES, V1, V2, Stage, runtime, staged

pytestmark = pytest.mark.integration

THROTTLING = {"x-seaway-throttled": "1", "x-amzn-errortype": "ThrottlingException"}
WHOLE = (Share(V1.id, "v1", 100), Share(V2.id, "v2", 0))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("lies")) as stage:
        yield stage


@pytest.fixture(scope="module")
def client(stage: Stage) -> Any:
    return runtime(stage.envoy.url)


def behind(stage: Stage, fronts: dict[str, str]) -> None:
    folder = stage.envoy.folder
    stage.settled(folder.write_routes({ENDPOINT: WHOLE}, fronts={ENDPOINT: fronts}))
    stage.first.seen.clear()


@pytest.mark.parametrize("front", ["", SIDECAR])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_container_that_calls_itself_throttled_has_failed(
    stage: Stage, client: Any, front: str, status: int
) -> None:
    behind(stage, {V1.id: front})
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(status=status, headers=THROTTLING))
    told = caught.value.response
    assert (told["Error"]["Code"], told["OriginalStatusCode"]) == ("ModelError", status)
    assert len(stage.first.seen) == 1
    assert "x-seaway-throttled" not in told["ResponseMetadata"]["HTTPHeaders"]


def test_the_activator_is_believed_and_clients_come_again(stage: Stage, client: Any) -> None:
    behind(stage, {V1.id: ACTIVATOR})
    with pytest.raises(ClientError) as caught:
        client.invoke_endpoint(EndpointName=ENDPOINT, Body=order(status=429, headers=THROTTLING))
    told = caught.value.response
    assert told["Error"]["Code"] == "ThrottlingException"
    assert len(stage.first.seen) == 1 + RETRIES
    assert "x-seaway-throttled" not in told["ResponseMetadata"]["HTTPHeaders"]


def test_no_mark_of_ours_leaves_by_the_open_inference_protocol(stage: Stage) -> None:
    for front in ("", ACTIVATOR):
        behind(stage, {V1.id: front})
        answer = stage.http.post(
            f"/v2/models/{ENDPOINT}/infer", content=order(status=429, headers=THROTTLING)
        )
        assert answer.status_code == 429
        assert "x-seaway-throttled" not in answer.headers


def test_only_a_sidecar_says_that_its_container_saw_nothing(stage: Stage) -> None:
    unsent = order(status=500, headers={"x-seaway-unsent": "1"})
    for front, asked in (("", 1), (ACTIVATOR, 1), (SIDECAR, 1 + RETRIES)):
        behind(stage, {V1.id: front, V2.id: SIDECAR})
        answer = stage.call(unsent)
        assert (answer.status_code, answer.json()["OriginalStatusCode"]) == (424, 500)
        assert len(stage.first.seen) == asked, front
