"""MLflow's REST interface: one place that speaks HTTP to it and translates its failures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from registry.errors import NotFound, Permanent, Unreachable

if TYPE_CHECKING:
    import httpx

PAUSES = (0.1, 0.3, 0.9)
"""Seconds before each further try of a call that MLflow was too busy or too absent for."""
_BUSY = frozenset({429, 502, 503, 504})
SERVICE_HEADER = "x-seaway-service"
"""Marks Seaway's own tag changes, which mirror the ledger and are nobody's gesture."""


class Rest:
    """Calls under `/api/VERSION/mlflow/`, with quick retries; close it, or use it in `with`."""

    def __init__(self, url: str, user: str | None = None, password: str | None = None) -> None:
        import httpx

        self._url = url
        self._client = httpx.Client(
            base_url=url,
            auth=(user, password or "") if user else None,
            headers={SERVICE_HEADER: "1"},
            timeout=httpx.Timeout(30.0, connect=3.0),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()

    def get(
        self, path: str, parameters: Mapping[str, Any] | None = None, *, version: str = "2.0"
    ) -> dict[str, Any]:
        """Read; `version` is that of MLflow's interface.

        Raises:
            registry.errors.NotFound: MLflow has no such thing.
            registry.errors.Unreachable: no answer after the retries.
            registry.errors.Permanent: any other refusal, in MLflow's words.
        """
        address = f"/api/{version}/mlflow/{path}"
        return dict(self._call("GET", address, params=dict(parameters or {})).json())

    def send(
        self, method: str, path: str, body: Mapping[str, Any], *, repeat: bool = True, version: str = "2.0"
    ) -> dict[str, Any]:
        """Write; with `repeat=False` a call that MLflow may have begun is not sent twice. Raises as `get`."""
        answer = self._call(method, f"/api/{version}/mlflow/{path}", repeat=repeat, json=dict(body))
        return dict(answer.json() or {})

    def pages(self, path: str, field: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All items of a paged list."""
        token = ""
        while True:
            page = self.get(path, {**parameters, **({"page_token": token} if token else {})})
            yield from page.get(field, ())
            token = page.get("next_page_token", "")
            if not token:
                return

    def fetch(self, artifact: str, file: Path) -> None:
        """Stream an artifact through MLflow's proxy into a file; its path starts at the artifact root."""
        import httpx

        path = f"/api/2.0/mlflow-artifacts/artifacts/{quote(artifact)}"
        partial = file.with_name(file.name + ".part")
        for pause in (*PAUSES, None):
            try:
                with self._client.stream("GET", path) as answer:
                    if answer.status_code not in _BUSY:
                        _refuse(answer, artifact)
                        with partial.open("wb") as out:
                            out.writelines(answer.iter_bytes())
                        partial.replace(file)
                        return
            except httpx.TransportError as error:
                if pause is None:
                    raise self._unreachable(error) from error
            if pause is not None:
                time.sleep(pause)
        raise self._unreachable("it is too busy")

    def _call(self, method: str, path: str, *, repeat: bool = True, **request: Any) -> httpx.Response:
        import httpx

        for pause in (*PAUSES, None):
            try:
                answer = self._client.request(method, path, **request)
            except httpx.TransportError as error:
                begun = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if pause is None or (begun and not repeat):
                    raise self._unreachable(error) from error
            else:
                if answer.status_code not in _BUSY:
                    _refuse(answer, path)
                    return answer
            if pause is not None:
                time.sleep(pause)
        raise self._unreachable("it is too busy")

    def _unreachable(self, why: object) -> Unreachable:
        return Unreachable(f"MLflow at {self._url} does not answer ({why}); look at `seaway status`")


def _refuse(answer: httpx.Response, subject: str) -> None:
    """Raise what a refusal means; nothing for a success."""
    if answer.is_success:
        return
    answer.read()
    try:
        document = answer.json()
        code, message = str(document.get("error_code", "")), str(document.get("message", ""))
    except (ValueError, AttributeError):
        code, message = "", answer.text[:300]
    if answer.status_code == 404 or code == "RESOURCE_DOES_NOT_EXIST":
        raise NotFound(f"MLflow has no {subject}: {message or 'not found'}")
    if answer.status_code == 401:
        raise Permanent("MLflow refused the user or the password; check the credentials of this installation")
    raise Refusal(answer.status_code, code, message)


class Refusal(Permanent):
    """MLflow refused a call."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"MLflow answered {status} {code}: {message or 'no message'}")
        self.status = status
        self.code = code
