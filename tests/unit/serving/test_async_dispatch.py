"""When an endpoint without capacity gets its next request."""

from __future__ import annotations

import asyncio
import json

from serving.asynchronous.admission import admit
from serving.asynchronous.backlog import Backlog
from serving.asynchronous.configuration import Configurations
from serving.asynchronous.dispatch import Dispatch


class NoCapacity:
    """A carrier that never meets an instance."""

    def __init__(self, backlog):
        self.begun = []
        self._backlog = backlog

    async def carry(self, entry, configuration):
        self.begun.append((entry.request.id, configuration.instance_count))
        self._backlog.release(entry.request.id, 0.0, counted=False)
        return False


def configure(folder, instances):
    fresh = folder / "fresh"
    fresh.write_text(json.dumps({"output_path": "s3://local/out", "instance_count": instances}))
    fresh.replace(folder / "late.json")


async def saved(call, *values, **named):
    return call(*values, **named)


async def looked(dispatch, times):
    """Some rounds of the loop, without its waiting."""
    for _ in range(times):
        await dispatch._fill()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_a_pause_ends_when_the_endpoint_gets_more_instances(tmp_path):
    configure(tmp_path, 0)
    backlog, configurations = Backlog(tmp_path / "queue"), Configurations(tmp_path)
    try:
        backlog.add(admit("late", {}, b"x", configurations.find("late"), 0.0, "1"))
        waiting = backlog.waiting()["late"]
        assert (waiting.size, waiting.in_process) == (1, 0)
        carrier = NoCapacity(backlog)
        dispatch = Dispatch(backlog, saved, carrier, configurations, lambda: 1.0, lambda: None)

        async def work():
            dispatch.came("late")
            await looked(dispatch, 3)
            assert carrier.begun == [("1", 0)]
            configure(tmp_path, 1)
            await looked(dispatch, 3)

        asyncio.run(work())
        assert carrier.begun == [("1", 0), ("1", 1)]
        backlog.claim("late", 1, 1.0)
        assert backlog.waiting()["late"].in_process == 1
    finally:
        backlog.close()
