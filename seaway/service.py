"""The controller process: `python -m seaway.service`.

Three loops and a small HTTP interface. One thread looks after endpoints every second; another brings registry
and ledger together, every 15 seconds or when a webhook says that something happened; a third starts the
monitoring runs that are due. The HTTP side only wakes them, shows what is there and writes wishes into the
store.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import IO, TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.errors import RolloutRefused
from deploy.release import Release
from flows.approvals import Approvals
from flows.artifacts import rollout_sentence
from flows.monitoring.exporting import CONTENT_TYPE
from flows.monitoring.logbook import Logbook
from flows.monitoring.watching import Caller
from flows.pruning import prune_captures, prune_monitoring, prune_packages
from flows.trigger import TriggerError
from flows.wiring import Wiring, connect, utc_now
from registry.deliveries import Deliveries
from registry.errors import LedgerDamaged, RegistryError
from registry.webhook import DeliveryRefused, ensure_webhook, verify
from seaway import labels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("seaway.service")

TICK = 1.0
"""Seconds between two looks at the endpoints."""
SCAN = 15.0
"""Seconds between two looks at the registry when nobody calls."""
CALL = 5.0
"""Seconds between two looks at what is to be monitored."""
SOON = 0.3
"""Seconds until the next look while somebody's gesture is still under way."""
PRUNE = timedelta(minutes=10)
"""Time between two looks for what nobody needs any more."""
ALIVE = 15.0
"""Seconds without a tick after which the process calls itself unhealthy."""


class Loops:
    """The threads, and what the HTTP side may ask of them."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._ticked = time.monotonic()
        self._threads = [
            threading.Thread(target=_lasting(loop), name=name, daemon=True)
            for name, loop in (
                ("endpoints", self._endpoints),
                ("registry", self._registry),
                ("monitoring", self._monitoring),
            )
        ]

    def start(self) -> None:
        """Begin to act."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the present look."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=20)

    def wake(self) -> None:
        """Look at the registry now."""
        self._wake.set()

    @property
    def healthy(self) -> bool:
        """Endpoints were looked at recently."""
        return time.monotonic() - self._ticked < ALIVE

    def _endpoints(self) -> None:
        controller, pruned = self._wiring.controller, utc_now()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                controller.tick(utc_now())
                if utc_now() - pruned > PRUNE:
                    pruned = utc_now()
                    self._prune(pruned)
                self._ticked = time.monotonic()
            except Exception:
                log.exception("a look at the endpoints failed; looking again")
            self._stop.wait(max(0.0, TICK - (time.monotonic() - began)))

    def _prune(self, now: datetime) -> None:
        self._wiring.controller.prune(now)
        for item in prune_packages(self._wiring, now):
            log.info("removed package %s, unused since %s", item.name[:12], f"{item.used:%Y-%m-%d}")
        if gone := prune_monitoring(self._wiring, now):
            log.info(
                "removed %d hours of decoded traffic and labels, the last from %s", len(gone), gone[-1].name
            )
        if gone := prune_captures(self._wiring, now):
            log.info("removed %d hours of captured traffic, the last from %s", len(gone), gone[-1].name)

    def _registry(self) -> None:
        if not self._ledger_holds():
            return
        approvals, hooked = Approvals(self._wiring), False
        while not self._stop.is_set():
            self._wake.clear()
            pause = SCAN
            try:
                hooked = hooked or self._hook()
                pause = SOON if approvals.scan(utc_now()).waiting else SCAN
            except RegistryError as error:
                pause = 1.0
                log.warning("the registry is not reachable, looking again: %s", error)
            except Exception:
                log.exception("a look at the registry failed; looking again")
            self._wake.wait(pause)

    def _monitoring(self) -> None:
        caller = Caller(self._wiring)
        while not self._stop.wait(CALL):
            try:
                caller.look(utc_now())
            except TriggerError as error:
                log.warning("monitoring runs cannot be started, looking again: %s", error)
            except Exception:
                log.exception("a look at what is to be monitored failed; looking again")

    def _ledger_holds(self) -> bool:
        """Nothing is deployed on the word of a ledger that somebody has changed; endpoints go on serving."""
        try:
            count = self._wiring.desk.ledger.verify()
        except LedgerDamaged as damage:
            log.critical("no approval is acted on until the ledger is restored from a backup: %s", damage)
            return False
        log.info("the ledger's %d entries form an intact chain", count)
        return True

    def _hook(self) -> bool:
        """Make MLflow call us; only a hint, so that a failure costs seconds and nothing else."""
        settings = self._wiring.settings
        address = f"{settings.url('controller')}/webhooks/mlflow"
        ensure_webhook(address, settings.url("mlflow"), settings.secret("webhook"), *self._login())
        return True

    def _login(self) -> tuple[str, ...]:
        return self._wiring.registry_login or ()


def _lasting(loop: Callable[[], None]) -> Callable[[], None]:
    """A loop whose failure ends the process, so that supervisord starts a whole one again."""

    def run() -> None:
        try:
            loop()
        except BaseException:
            log.critical("the controller cannot go on and is started again", exc_info=True)
            os._exit(1)

    return run


class Interface:
    """What answers on HTTP."""

    def __init__(self, wiring: Wiring, loops: Loops) -> None:
        self._wiring = wiring
        self._loops = loops
        self._deliveries = Deliveries(wiring.engine)
        self._logbook = cache(lambda: Logbook.of(wiring.engine))

    def routes(self) -> list[Route]:
        """All addresses."""
        return [
            Route("/healthz", self.health),
            Route("/metrics", self.metrics),
            Route("/webhooks/mlflow", self.webhook, methods=["POST"]),
            Route("/api/endpoints", self._guarded(self.endpoints)),
            Route("/api/endpoints/{endpoint}", self._guarded(self.remove), methods=["DELETE"]),
            Route("/api/endpoints/{endpoint}/abort", self._guarded(self.abort), methods=["POST"]),
            Route("/api/endpoints/{endpoint}/labels", self._guarded(self.labels), methods=["POST"]),
            Route("/api/reconcile", self._guarded(self.reconcile), methods=["POST"]),
        ]

    async def health(self, _request: Request) -> Response:
        """200 while endpoints are looked after."""
        healthy = self._loops.healthy
        return JSONResponse({"status": "ok" if healthy else "stuck"}, 200 if healthy else 503)

    async def metrics(self, _request: Request) -> Response:
        """Figures, violations and alerts of all monitors, for Prometheus."""
        text = await run_in_threadpool(lambda: self._logbook().metrics(utc_now()))
        return Response(text, media_type=CONTENT_TYPE)

    async def webhook(self, request: Request) -> Response:
        """MLflow's deliveries; refused unless signed, fresh and new."""
        body = await request.body()
        secret = self._wiring.settings.secret("webhook")
        try:
            delivery = await run_in_threadpool(
                verify, request.headers, body, secret, utc_now(), self._deliveries.first
            )
        except DeliveryRefused as refusal:
            log.warning("webhook refused: %s", refusal)
            return JSONResponse({"error": str(refusal)}, 401)
        log.info("webhook %s: %s", delivery.event, delivery.data.get("name"))
        self._loops.wake()
        return Response(status_code=204)

    async def endpoints(self, _request: Request) -> Response:
        """Every endpoint and its latest rollout."""
        return JSONResponse({"endpoints": await run_in_threadpool(overview, self._wiring)})

    async def abort(self, request: Request) -> Response:
        """End the running rollout of an endpoint; body `{"reason": "..."}` is optional."""
        body = await request.body()
        reason = (await request.json()).get("reason", "") if body else ""
        endpoint = request.path_params["endpoint"]
        found = await run_in_threadpool(self._wiring.store.abort, endpoint, reason or "aborted over the API")
        if found is None:
            return JSONResponse({"error": f"no rollout runs on endpoint {endpoint}"}, 404)
        return JSONResponse({"rollout": found.request.id}, 202)

    async def remove(self, request: Request) -> Response:
        """Remove an endpoint; `?abort=true` ends its rollout too, `?reason=` is kept in the history."""
        endpoint, asked = request.path_params["endpoint"], request.query_params
        reason, abort = asked.get("reason", "") or "removed over the API", asked.get("abort") == "true"
        store = self._wiring.store
        if await run_in_threadpool(store.endpoint, endpoint) is None:
            return JSONResponse({"error": f"there is no endpoint {endpoint}"}, 404)
        try:
            await run_in_threadpool(lambda: store.remove(endpoint, reason, utc_now(), abort=abort))
        except RolloutRefused as refusal:
            return JSONResponse({"error": str(refusal)}, 409)
        return Response(status_code=202)

    async def labels(self, request: Request) -> Response:
        """What really happened, as JSON Lines or a list; answers how many were taken, and why others not."""
        return await labels.post(self._wiring, request, utc_now())

    async def reconcile(self, _request: Request) -> Response:
        """Look at the registry now instead of in a few seconds."""
        self._loops.wake()
        return Response(status_code=202)

    def _guarded(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def check(request: Request) -> Response:
            token = f"Bearer {self._wiring.settings.secret('control')}"
            if not hmac.compare_digest(request.headers.get("authorization", "").encode(), token.encode()):
                return JSONResponse({"error": "a control token is needed: Authorization: Bearer ..."}, 401)
            return await handler(request)

        return check


def overview(wiring: Wiring) -> list[dict[str, object]]:
    """Endpoints as plain data: what they serve, and the rollout that runs or ran last."""
    rows: list[dict[str, object]] = []
    for endpoint in wiring.store.endpoints():
        latest = wiring.store.rollouts(endpoint.name, last=1)
        rows.append(
            {
                "endpoint": endpoint.name,
                "model": endpoint.stable.model if endpoint.stable else None,
                "version": endpoint.stable.version if endpoint.stable else None,
                "digest": endpoint.stable.digest if endpoint.stable else None,
                "previous": endpoint.previous.version if endpoint.previous else None,
                "instances": wiring.store.instances(endpoint),
                "scaling": _scaling(endpoint.stable),
                "rollout": rollout_sentence(latest[0]) if latest else None,
                "running": bool(latest and not latest[0].state.phase.final),
                "removing": endpoint.removed,
                "url": wiring.invocations(endpoint.name),
            }
        )
    return rows


def _scaling(stable: Release | None) -> dict[str, object] | None:
    return stable.scaling.model_dump(mode="json") if stable and stable.scaling else None


def create_app(wiring: Wiring) -> Starlette:
    """The application; its loops run while it does."""
    loops = Loops(wiring)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        loops.start()
        yield
        await run_in_threadpool(loops.stop)

    return Starlette(routes=Interface(wiring, loops).routes(), lifespan=lifespan)


def only_one(wiring: Wiring) -> IO[str]:
    """Hold the lock that makes this the only controller of its home.

    Raises:
        SystemExit: another one holds it.
    """
    lock = (wiring.settings.home / "controller.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("another controller runs in this home; end it with: seaway down") from None
    return lock


def main() -> None:
    """Serve until SIGTERM."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    wiring = connect()
    settings = wiring.settings
    with only_one(wiring):
        uvicorn.run(
            create_app(wiring),
            host=settings.host,
            port=settings.ports["controller"],
            log_level="warning",
            timeout_graceful_shutdown=5,
        )


if __name__ == "__main__":
    main()
