"""Which programs make up the platform, with which environment, on which ports. Decisions only, no effects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.settings import DEFAULT_PORTS, GATEWAYS, Settings
from deploy.envoy import command
from deploy.supervise import Program

PORTS_OF: dict[str, tuple[str, ...]] = {
    **{name: ("gateway", "internal", admin) for name, admin in GATEWAYS.items()},
    "prefect": ("prefect",),
    "mlflow": ("mlflow",),
    "controller": ("controller",),
    "async": ("asynchronous",),
    "worker": (),
}
"""The platform's programs, and the names in `Settings.ports` of the ports each listens on."""
STOP_ORDER = ("worker", "controller", "async", "mlflow", "prefect", *GATEWAYS)
"""Nobody loses what it depends on while it finishes; the data plane serves longest."""
POOL = "seaway"
"""Prefect work pool of the worker."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program of the platform and how to tell that it works."""

    program: Program
    health: str = ""
    """An address that answers 200 when it does."""
    ready_file: Path | None = None
    """Or a file into which it then writes its process id."""
    url: str = ""
    """Where people look."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name


def choose_ports(
    wanted: Mapping[str, int], free: Callable[[int], bool], running: Collection[str]
) -> dict[str, int]:
    """A port for every name: the wanted one, or the next that is free.

    Args:
        wanted: ports by name; missing names get their default.
        free: tells whether nobody listens on a port.
        running: programs of ours that run; they keep their ports.
    """
    ours = {name for program in running for name in PORTS_OF.get(program, ())}
    wanted = {**DEFAULT_PORTS, **wanted}
    chosen = {name: port for name, port in wanted.items() if name in ours}
    for name, port in wanted.items():
        if name in ours:
            continue
        candidate = port
        while candidate in chosen.values() or not free(candidate):
            candidate = candidate + 1 if candidate < 65_535 else 1_024
        chosen[name] = candidate
    return {name: chosen[name] for name in wanted}


def prefect_client(settings: Settings) -> dict[str, str]:
    """Environment of every process that talks to the Prefect server."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": f"{settings.url('prefect')}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def prefect_server(settings: Settings) -> dict[str, str]:
    """Environment of the Prefect server.

    Leases of concurrency limits lie in files, because in memory they would be held for ever after a restart.
    """
    database = (
        settings.prefect_database_url or f"sqlite+aiosqlite:///{settings.home / 'prefect' / 'prefect.db'}"
    )
    return {
        **prefect_client(settings),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def worker(settings: Settings) -> dict[str, str]:
    """Environment of the worker; flow runs inherit it."""
    return {
        **prefect_client(settings),
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
        "SEAWAY_WORK_POOL": POOL,
        "SEAWAY_READY_FILE": str(ready_file(settings)),
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_TRACKING_URI": settings.url("mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def ready_file(settings: Settings) -> Path:
    """Where the worker writes its process id once it takes runs."""
    return settings.home / "worker.pid"


def gateway_folder(settings: Settings) -> Path:
    """The files that Envoy watches."""
    return settings.home / "gateway"


def bootstrap_file(settings: Settings, gateway: str) -> Path:
    """What one of the gateway's processes is started with."""
    return gateway_folder(settings) / f"{gateway}.json"


def asynchronous(settings: Settings, python: str) -> tuple[str, ...]:
    """The service of asynchronous calls; the bucket `local` is a folder of the home."""
    home = settings.home
    folders = ("--home", str(home / "async-queue"), "--config", str(home / "async"))
    own = f"http://127.0.0.1:{settings.ports['internal']}"
    place = ("--gateway", own, "--port", str(settings.ports["asynchronous"]))
    return (python, "-m", "serving.asynchronous", *place, *folders, "--object-store", f"local={home}/objects")


def services(settings: Settings, python: str, envoy: str) -> tuple[Service, ...]:
    """The platform, in the order of its start.

    Args:
        settings: with the ports already chosen.
        python: the interpreter that has Seaway.
        envoy: Envoy's executable.
    """
    common = {"SEAWAY_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"}

    def program(
        name: str, command: tuple[str, ...], priority: int, environment: Mapping[str, str] | None = None
    ) -> Program:
        return Program(
            name=name,
            command=command,
            directory=settings.home,
            log=settings.home / "logs" / f"{name}.log",
            environment={**common, **(environment or {})},
            priority=priority,
            start_seconds=10,
        )

    host, port = settings.host, {name: str(number) for name, number in settings.ports.items()}
    bind = ("--host", host, "--port")
    prefect = (python, "-m", "prefect", "server", "start", *bind, port["prefect"])
    app = ("--factory", "registry.server:create_app", "--log-level", "warning")
    mlflow = (python, "-m", "uvicorn", *app, *bind, port["mlflow"])
    url = settings.url
    return (
        *(
            Service(
                program(name, command(envoy, bootstrap_file(settings, name)), 100),
                f"{url(admin)}/ready",
                url=url("gateway"),
            )
            for name, admin in GATEWAYS.items()
        ),
        Service(
            program("prefect", prefect, 200, prefect_server(settings)),
            f"{url('prefect')}/api/health",
            url=url("prefect"),
        ),
        Service(program("mlflow", mlflow, 300), f"{url('mlflow')}/health", url=url("mlflow")),
        Service(
            program("controller", (python, "-m", "seaway.service"), 400, prefect_client(settings)),
            f"{url('controller')}/healthz",
            url=url("controller"),
        ),
        Service(
            program("async", asynchronous(settings, python), 450),
            f"{url('asynchronous')}/ping",
            url=url("asynchronous"),
        ),
        Service(
            program("worker", (python, "-m", "flows.worker"), 500, worker(settings)),
            ready_file=ready_file(settings),
        ),
    )
