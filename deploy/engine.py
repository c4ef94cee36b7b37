"""Docker's engine: the containers of one installation, and errors in our words."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from deploy import containers
from deploy.containers import GRACE_SECONDS, Look
from deploy.errands import Progress
from deploy.errors import Permanent, Temporary

if TYPE_CHECKING:
    from docker import DockerClient


_REFUSALS = (
    "not found",
    "manifest unknown",
    "name unknown",
    "denied",
    "unauthorized",
    "no basic auth",
    "invalid reference",
)
"""Words of registries that answer and refuse."""


class EngineUnavailable(Temporary):
    """Docker's engine does not answer, or refuses for a reason of its own."""


class RegistryUnreachable(Temporary):
    """The registry of an image does not answer."""


class ImageMissing(Permanent):
    """The engine does not have the image, and its registry does not give it."""


class Engine:
    """The containers of one installation on Docker's engine.

    Args:
        home: `home_id` of the installation.
        connect: makes a client; by default from the environment (`DOCKER_HOST`).
    """

    def __init__(self, home: str, connect: Callable[[], DockerClient] | None = None) -> None:
        self._home = home
        self._connect = connect
        self._made: DockerClient | None = None

    def looks(self, fleet: str = "") -> dict[str, Look]:
        """Containers by name, of one fleet or of all."""
        labels = [f"{containers.HOME}={self._home}", *([f"{containers.FLEET}={fleet}"] if fleet else [])]
        with _translated():
            found = self._client().containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return {look.name: look for look in (containers.look(one.attrs) for one in found)}

    def look(self, name: str) -> Look | None:
        """One container; None when there is none of that name."""
        with _translated(), _absent():
            return containers.look(self._client().api.inspect_container(name))
        return None

    def labels(self, image: str) -> dict[str, str] | None:
        """The labels of an image; None when the engine would have to ask a registry for it."""
        with _translated(), _absent():
            settings = self._client().api.inspect_image(image).get("Config") or {}
            return dict(settings.get("Labels") or {})
        return None

    def pull(self, image: str, tell: Callable[[str], None]) -> None:
        """Get an image from its registry, with the login that `docker login` left for this user.

        Args:
            image: its name, as `docker pull` takes it.
            tell: told how far it has come.

        Raises:
            ImageMissing: the registry has no such image, or does not give it to us.
            RegistryUnreachable: the registry does not answer.
            EngineUnavailable: the engine does not.
        """
        from docker.errors import APIError
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        progress = Progress()
        tell(f"pulling {image}")
        try:
            with _translated(passing=APIError):
                reports = self._client().api.pull(repository, tag or "latest", stream=True, decode=True)
                for report in reports:
                    if "error" in report:
                        raise _unpulled(image, str(report["error"]))
                    tell(f"pulling {image}: {progress.line(report)}")
        except APIError as error:
            raise _unpulled(image, str(error.explanation or error)) from error

    def create(self, arguments: dict[str, Any]) -> None:
        """Make a container, unless somebody just did."""
        with _translated(), _conflict():
            self._client().containers.create(**arguments)

    def start(self, name: str) -> None:
        """Start a container; one that the engine cannot start shows why in its next look."""
        with _translated(), _absent(), _shown(self, name):
            self._client().api.start(name)

    def signal(self, name: str, signal: str) -> None:
        """Signal its first process; nothing happens without one."""
        with _translated(), _absent(), _conflict():
            self._client().api.kill(name, signal)

    def remove(self, name: str) -> None:
        """Forget a container, ended or not."""
        with _translated(), _absent(), _conflict():
            self._client().api.remove_container(name, v=True, force=True)

    def frames(self, name: str, since: str) -> Iterator[bytes]:
        """What a container writes, until it ends or the engine does."""
        from docker.errors import DockerException
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        with contextlib.suppress(DockerException, RequestException, HTTPError, OSError):
            after = containers.seconds(since) - 0.001 if since else None
            output = self._client().api.logs(name, stream=True, follow=True, timestamps=True, since=after)
            try:
                yield from output
            finally:
                output.close()

    def halt(self, seconds: float = GRACE_SECONDS) -> None:
        """End every container of this installation, wait for it, and remove them; the fleets stay wanted.

        For the platform when it goes down; at its next start the target makes the containers again. Sidecars
        get these seconds, and then the other containers.
        """
        for sidecars in (True, False):  # a sidecar passes on what it has taken, before its container ends
            deadline = time.monotonic() + seconds
            for name, look in self.looks().items():
                if look.up and look.sidecar == sidecars:
                    self.signal(name, "SIGTERM")
            while self._running(sidecars=sidecars) and time.monotonic() < deadline:
                time.sleep(0.1)
        for name in self.looks():
            self.remove(name)

    def _running(self, *, sidecars: bool) -> bool:
        return any(look.up and look.sidecar == sidecars for look in self.looks().values())

    def process(self) -> int:
        """Process id of the engine, to notice that it restarted; 0 where that cannot be known."""
        with _translated():
            address = str(self._client().api.base_url)
            path = str(getattr(self._client().api._custom_adapter, "socket_path", ""))  # noqa: SLF001
        if not address.startswith("http+docker") or not path:
            return 0
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
            size = struct.calcsize("3i")
            return int(struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])
        return 0

    def close(self) -> None:
        """Give the connections back."""
        if self._made:
            self._made.close()
            self._made = None

    def _client(self) -> DockerClient:
        if self._made is None:
            import docker

            self._made = (self._connect or docker.from_env)()
        return self._made


def _unpulled(image: str, said: str) -> ImageMissing | RegistryUnreachable:
    """Why a pull failed, by what the engine says of it."""
    words = said.lower()
    if any(sign in words for sign in _REFUSALS):
        return ImageMissing(
            f"no registry gives the image {image} ({said}); build or push it, correct its name, or log in "
            "with `docker login`"
        )
    return RegistryUnreachable(
        f"the registry of the image {image} cannot be reached ({said}); it is tried again. Check the name "
        "and the network, or load the image with `docker load`"
    )


@contextlib.contextmanager
def _translated(*, passing: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Errors in our words, but those of the kind `passing`."""
    from docker.errors import DockerException
    from requests import RequestException

    try:
        yield
    except passing:
        raise
    except (DockerException, RequestException) as error:
        raise EngineUnavailable(f"Docker's engine does not do what it must: {error}") from error


@contextlib.contextmanager
def _absent() -> Iterator[None]:
    """What is not there needs nothing done."""
    from docker.errors import NotFound

    with contextlib.suppress(NotFound):
        yield


@contextlib.contextmanager
def _conflict() -> Iterator[None]:
    """Somebody else did it first: the name is taken, or the container has no process any more."""
    from docker.errors import APIError

    try:
        yield
    except APIError as error:
        if error.status_code != 409:
            raise


@contextlib.contextmanager
def _shown(engine: Engine, name: str) -> Iterator[None]:
    """A failed start is part of the container's state, where the next look finds it."""
    from docker.errors import APIError

    try:
        yield
    except APIError:
        seen = engine.look(name)
        if seen is None or not seen.failed:
            raise
