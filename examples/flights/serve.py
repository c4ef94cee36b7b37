"""Send flights to a live endpoint as an airport's client does, and write down which were late.

    python examples/flights/serve.py --from 09-16 --to 09-20 --labels september.csv

The labels are what an airport learns when the flight has landed: `seaway labels add` takes the file.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import flights
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

CLIENTS = 8


def main() -> int:
    """Send, write the labels, and say what was done; exit code 1 when a request failed."""
    wanted = _arguments()
    pairs = list(flights.stretch(wanted.first, wanted.last, wanted.every))
    run = uuid.uuid4().hex[:8]
    names = [f"{run}-{number}" for number in range(len(pairs))]
    if wanted.align:
        time.sleep(60 - time.time() % 60)
    began = time.time()
    failed = _send(wanted, list(zip(names, (record for record, _ in pairs), strict=True)))
    ended = time.time()
    _write(wanted.labels, list(zip(names, (late for _, late in pairs), strict=True)))
    told = {
        "flights": f"{wanted.first} to {wanted.last}",
        "sent": len(pairs),
        "failed": len(failed),
        "from": _utc(began),
        "to": _utc(ended),
        "labels": str(wanted.labels),
    }
    sys.stderr.writelines(f"{failure}\n" for failure in failed[:10])
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if failed else 0


def _send(wanted: argparse.Namespace, requests: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Send all requests, some at a time; returns what went wrong."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=wanted.url,
        region_name="local",
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106 (the gateway asks for none)
        config=Config(max_pool_connections=CLIENTS, retries={"total_max_attempts": 1}),
    )

    def send(one: tuple[str, dict[str, Any]]) -> str:
        name, record = one
        body = json.dumps({"instances": [record]})
        try:
            client.invoke_endpoint(
                EndpointName=wanted.endpoint, ContentType="application/json", InferenceId=name, Body=body
            )
        except (BotoCoreError, ClientError) as error:
            return f"{name}: {error}"
        return ""

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [told for told in pool.map(send, _paced(requests, wanted.rate)) if told]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="first", required=True, help="first day, for example 09-16")
    parser.add_argument("--to", dest="last", required=True, help="last day, included")
    parser.add_argument("--every", type=int, default=1, help="take each n-th flight (1)")
    parser.add_argument("--rate", type=float, default=400.0, help="most requests a second (400)")
    parser.add_argument("--align", action="store_true", help="begin with the next full minute")
    parser.add_argument("--endpoint", default="late-arrivals", help="late-arrivals when not given")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway (http://127.0.0.1:8080)")
    parser.add_argument("--labels", type=Path, default=Path("labels.csv"), help="written (labels.csv)")
    return parser.parse_args()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _paced(items: Iterable[Any], rate: float) -> Iterator[Any]:
    """Hand out no more than `rate` items a second."""
    began = time.monotonic()
    for number, item in enumerate(items):
        ahead = began + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        yield item


def _write(path: Path, labels: list[tuple[str, int | None]]) -> None:
    """Flights that were diverted never arrived: they have no label."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        writer.writerows(pair for pair in labels if pair[1] is not None)


if __name__ == "__main__":
    raise SystemExit(main())
