"""Asynchronous inference: `python -m serving.asynchronous` takes requests now, answers into an object store.

One process stands beside the gateway. It answers `POST /endpoints/{name}/async-invocations` with 202, keeps
the request in a queue on disk, sends the input to the endpoint when there is room, and puts what comes back
where the caller was told. A process killed at any moment loses nothing and answers nothing twice.
"""
