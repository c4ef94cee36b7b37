"""People who log in at MLflow, when the platform was started with `--auth`."""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import Permanent
from registry.rest import Refusal, Rest

EDIT = "EDIT"
"""MLflow's permission to change a model's versions, which setting the status tag needs."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password."""

    name: str
    administrator: bool
    models: tuple[str, ...]
    """Registered models whose versions this person may change; `*` means all."""


class People:
    """Users of MLflow's basic-auth. Which of them may approve is each project's policy."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def add(self, name: str, password: str) -> None:
        """Create a user.

        Raises:
            registry.errors.Permanent: the name is taken, or MLflow does not like name or password.
        """
        try:
            self._rest.send("POST", "users/create", {"username": name, "password": password}, repeat=False)
        except Refusal as refusal:
            if refusal.code == "RESOURCE_ALREADY_EXISTS":
                raise Permanent(f"there is a user {name!r} already; see `seaway users list`") from refusal
            raise

    def allow(self, name: str, model: str) -> None:
        """Let a user change the versions of a model, whether it exists already or not.

        Raises:
            registry.errors.NotFound: there is no such user.
        """
        subject = {"username": name, "resource_type": "registered_model", "resource_id": model}
        self._rest.send("POST", "users/permissions/grant", {**subject, "permission": EDIT}, version="3.0")

    def list(self) -> tuple[User, ...]:
        """Everybody, by name."""
        found = self._rest.get("users/list")["users"]
        return tuple(self._user(one) for one in sorted(found, key=lambda one: str(one["username"])))

    def _user(self, raw: dict[str, object]) -> User:
        name = str(raw["username"])
        answer = self._rest.get("users/permissions/list", {"username": name}, version="3.0")
        models = {
            str(grant["resource_pattern"])
            for grant in answer["permissions"]
            if grant["resource_type"] == "registered_model" and grant["permission"] in {EDIT, "MANAGE"}
        }
        return User(name, bool(raw["is_admin"]), tuple(sorted(models)))
