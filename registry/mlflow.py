"""The model registry in MLflow, over its REST interface: the MLflow library is never imported here."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry.errors import NotFound, Permanent, Unreachable
from registry.port import STATUS, Candidate, ModelVersion
from registry.rest import Refusal, Rest

_PAGE = 1000


class MlflowRegistry:
    """A registry behind `url`; user and password when it asks for them.

    The server must keep artifacts behind its own proxy (`mlflow-artifacts:`), as Seaway's does.
    """

    def __init__(self, url: str, user: str | None = None, password: str | None = None) -> None:
        self._rest = Rest(url, user, password)

    def close(self) -> None:
        """Drop the connections."""
        self._rest.close()

    def register(self, candidate: Candidate) -> ModelVersion:
        """Add a version, or return the one with the same digest and run."""
        if found := self._registered(candidate):
            return found
        self._create_model(candidate.model)
        artifacts = self._artifacts(candidate.run_id)
        created = self._rest.send(
            "POST",
            "model-versions/create",
            {
                "name": candidate.model,
                "source": f"{artifacts}/package",
                "run_id": candidate.run_id,
                "description": candidate.description,
                "tags": [{"key": key, "value": value} for key, value in candidate.tags.items()],
            },
            repeat=False,
        )
        return _version(created["model_version"], ())

    def versions(self, model: str | None = None) -> tuple[ModelVersion, ...]:
        """All versions, newest first: one paged search, plus one of the models for their aliases."""
        aliases = self._aliases(model)
        parameters: dict[str, Any] = {"max_results": _PAGE, "order_by": ["creation_timestamp DESC"]}
        if model is not None:
            parameters["filter"] = f"name = {_quoted(model)}"
        found = self._rest.pages("model-versions/search", "model_versions", parameters)
        versions = [_version(item, aliases[item["name"], str(item["version"])]) for item in found]
        return tuple(sorted(versions, key=lambda version: (version.model, -int(version.version))))

    def annotate(
        self, model: str, version: str, tags: Mapping[str, str | None], description: str | None = None
    ) -> None:
        """Set the description, then the tags in their order (None removes one)."""
        subject = {"name": model, "version": version}
        if description is not None:
            self._rest.send("PATCH", "model-versions/update", {**subject, "description": description})
        for key, value in tags.items():
            if value is not None:
                self._set_tag({**subject, "key": key, "value": value})
                continue
            try:
                self._rest.send("DELETE", "model-versions/delete-tag", {**subject, "key": key})
            except NotFound:
                if key == STATUS:
                    raise

    def _set_tag(self, body: Mapping[str, str]) -> None:
        """Set one tag; two writers that set a new one at the same moment collide in MLflow's database."""
        for _ in range(5):
            try:
                self._rest.send("POST", "model-versions/set-tag", body)
            except Refusal as refusal:
                if not any(sign in str(refusal) for sign in ("UNIQUE constraint", "duplicate key")):
                    raise
            else:
                return
        raise Unreachable("MLflow's database stays busy with the same tag; look at its log")

    def set_alias(self, model: str, alias: str, version: str | None) -> None:
        """Point an alias at a version; None removes it."""
        body = {"name": model, "alias": alias}
        if version is not None:
            self._rest.send("POST", "registered-models/alias", {**body, "version": version})
            return
        try:
            self._rest.send("DELETE", "registered-models/alias", body)
        except NotFound:
            return

    def download(self, version: ModelVersion, path: str, folder: Path) -> Path:
        """Fetch an artifact of the version's run into the folder, under its own name."""
        if ".." in Path(path).parts or path.startswith("/"):
            raise NotFound(f"{path!r} is not a path inside a run; leave out `..` and the leading slash")
        root = _proxied(self._artifacts(version.run_id))
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / posixpath.basename(path)
        try:
            self._rest.fetch(f"{root}/{path}", file)
        except Refusal as error:  # MLflow answers 400 for a folder, not 404
            raise NotFound(f"version {version.version} of {version.model} has no file {path!r}") from error
        return file

    def _registered(self, candidate: Candidate) -> ModelVersion | None:
        try:
            versions = self.versions(candidate.model)
        except NotFound:
            return None
        digest = candidate.tags.get("digest")
        for version in versions:
            if version.run_id == candidate.run_id and version.tags.get("digest") == digest:
                return version
        return None

    def _create_model(self, model: str) -> None:
        try:
            self._rest.send("POST", "registered-models/create", {"name": model})
        except Refusal as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _aliases(self, model: str | None) -> Mapping[tuple[str, str], list[str]]:
        """Model and version → aliases. Raises NotFound for a named model that does not exist."""
        if model is not None:
            models = [self._rest.get("registered-models/get", {"name": model})["registered_model"]]
        else:
            parameters = {"max_results": _PAGE}
            models = list(self._rest.pages("registered-models/search", "registered_models", parameters))
        pointing: dict[tuple[str, str], list[str]] = defaultdict(list)
        for found in models:
            for alias in found.get("aliases", ()):
                pointing[found["name"], str(alias["version"])].append(alias["alias"])
        return pointing

    def _artifacts(self, run_id: str) -> str:
        """Artifact address of a run."""
        info = self._rest.get("runs/get", {"run_id": run_id})["run"]["info"]
        return str(info["artifact_uri"])


def _proxied(uri: str) -> str:
    """The path behind MLflow's proxy: `mlflow-artifacts:/1/abc/artifacts` → `1/abc/artifacts`."""
    parts = urlsplit(uri)
    if parts.scheme != "mlflow-artifacts":
        raise Permanent(
            f"artifacts of this run lie at {uri}, outside MLflow's proxy: start MLflow with `seaway up`"
        )
    return parts.path.strip("/")


def _version(item: Mapping[str, Any], aliases: list[str] | tuple[()]) -> ModelVersion:
    return ModelVersion(
        model=str(item["name"]),
        version=str(item["version"]),
        run_id=str(item.get("run_id") or ""),
        source=str(item.get("source") or ""),
        description=str(item.get("description") or ""),
        tags={tag["key"]: tag.get("value", "") for tag in item.get("tags", ())},
        aliases=tuple(sorted(aliases)),
    )


def _quoted(text: str) -> str:
    if "'" in text:
        raise NotFound(f"{text!r} is no name of a registered model: leave out quotes")
    return f"'{text}'"
