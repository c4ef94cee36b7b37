from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import package
from serving.errors import ModelFailed, ServingError
from serving.loading import load
from serving.multimodel.cache import Ledger
from serving.multimodel.keys import find
from serving.multimodel.management import PAGE, Managed, page
from serving.multimodel.responder import MultiModelResponder
from serving.multimodel.shelf import NoMemory
from serving.responder import Answer, Request

HEADER = "x-amzn-sagemaker-target-model"
PATIENT = 20.0


class Model:
    """Answers its own name; waits for `gate` where there is one."""

    def __init__(self, name: str, gate: threading.Event | None = None) -> None:
        self.name = name
        self.gate = gate
        self.begun = threading.Event()

    def respond(self, request: Request) -> Answer:
        self.begun.set()
        if self.gate:
            assert self.gate.wait(PATIENT)
        return Answer(200, self.name.encode() + request.body)

    @property
    def execution_parameters(self) -> Mapping[str, object]:
        return {}


def place(root: Path, key: str, size: int = 1) -> None:
    (root / key / "code").mkdir(parents=True)
    (root / key / "weights").write_bytes(b"x" * size)


def costs(folder: Path, growth: int) -> int:
    return (folder / "weights").stat().st_size


def shelf(root: Path, budget: int, loader: object = None, **options: object) -> MultiModelResponder:
    made = loader or (lambda folder: Model(folder.name))
    return MultiModelResponder(root, budget, made, **{"cost": costs, **options})  # type: ignore[arg-type]


def ask(served: MultiModelResponder, key: str) -> Answer:
    return served.respond(Request(b"!", headers={HEADER: key}))


def names(served: MultiModelResponder) -> list[str]:
    return [one.name for one in served.loaded]


def test_models_are_loaded_when_asked_for_and_leave_when_room_is_needed(tmp_path: Path) -> None:
    for key in "abc":
        place(tmp_path, key, 40)
    served = shelf(tmp_path, 100)
    assert [ask(served, key).body for key in "aba"] == [b"a!", b"b!", b"a!"]
    assert names(served) == ["b", "a"]
    assert ask(served, "c").body == b"c!"
    assert names(served) == ["a", "c"]
    assert ask(served, "b").body == b"b!"
    assert names(served) == ["c", "b"]
    counts = served.counts
    assert (counts.loads, counts.hits, counts.evictions, counts.failures) == (4, 1, 2, 0)
    assert counts.load_seconds > 0
    assert "seaway_models_loaded 2\n" in served.metrics()
    assert "seaway_model_cache_hits_total 1\n" in served.metrics()


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=6),
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40),
)
def test_laws_of_the_budget(sizes: list[int], budget: int, calls: list[tuple[int, bool]]) -> None:
    ledger = Ledger(budget)
    pinned: set[str] = set()
    order: list[str] = []
    for number, pin in calls:
        name, cost = str(number % len(sizes)), sizes[number % len(sizes)]
        if name in ledger:
            ledger.touch(name)
        else:
            gone = ledger.leaving(cost)
            if gone is None:
                free = sum(sizes[int(one)] for one in order if one not in pinned)
                assert ledger.used - free + cost > budget
                continue
            assert not pinned & set(gone)
            assert list(gone) == [one for one in order if one not in pinned][: len(gone)]  # oldest first
            assert (
                not gone or ledger.used - sum(sizes[int(one)] for one in gone[:-1]) + cost > budget
            )  # no more
            for one in gone:
                ledger.remove(one)
            ledger.add(name, cost, pinned=pin)
            pinned |= {name} if pin else set()
        order = [one for one in order if one != name and one in ledger] + [name]
        assert ledger.used <= budget
        assert list(ledger) == order
        assert name in ledger


def test_what_does_not_fit_alone_is_not_even_loaded(tmp_path: Path) -> None:
    place(tmp_path, "a", 40)
    place(tmp_path, "large", 101)
    loaded: list[str] = []

    def loader(folder: Path) -> Model:
        loaded.append(folder.name)
        return Model(folder.name)

    served = shelf(tmp_path, 100, loader)
    ask(served, "a")
    with pytest.raises(NoMemory, match=r"large takes .* SEAWAY_MULTI_MODEL_MEMORY_IN_MB") as error:
        ask(served, "large")
    assert (error.value.status, names(served), loaded) == (507, ["a"], ["a"])


def test_what_grew_more_than_its_files_counts_as_much_for_ever(tmp_path: Path) -> None:
    place(tmp_path, "a", 10)
    place(tmp_path, "b", 10)
    grown = iter([90, 0, 0])

    def cost(folder: Path, growth: int) -> int:
        return max(costs(folder, 0), next(grown) if loading else 0)

    loading: list[bool] = []

    def loader(folder: Path) -> Model:
        loading.append(True)
        return Model(folder.name)

    def after(folder: Path, growth: int) -> int:
        found = cost(folder, growth)
        loading.clear()
        return found

    served = shelf(tmp_path, 95, loader, cost=after)
    ask(served, "a")
    assert served.used == 90
    ask(served, "b")
    assert (names(served), served.used) == (["b"], 10)
    ask(served, "a")  # grows by nothing now: it took what was free
    assert (names(served), served.used) == (["a"], 90)


def test_a_model_that_turns_out_too_large_is_dropped_and_frees_others_first(tmp_path: Path) -> None:
    place(tmp_path, "a", 40)
    place(tmp_path, "b", 40)
    sizes = iter([40, 40, 40, 70])  # before and after each load
    served = shelf(tmp_path, 100, cost=lambda folder, growth: next(sizes))
    ask(served, "a")
    ask(served, "b")
    assert (names(served), served.used) == (["b"], 70)


def test_callers_at_once_load_once(tmp_path: Path) -> None:
    place(tmp_path, "a")
    gate, loads = threading.Event(), []

    def loader(folder: Path) -> Model:
        loads.append(folder.name)
        assert gate.wait(PATIENT)
        return Model(folder.name)

    served = shelf(tmp_path, 100, loader)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, served, "a") for _ in range(8)]
        gate.set()
        assert {one.result(PATIENT).body for one in answers} == {b"a!"}
    assert loads == ["a"]


def test_a_load_does_not_stop_other_models(tmp_path: Path) -> None:
    place(tmp_path, "quick")
    place(tmp_path, "slow")
    gate, begun = threading.Event(), threading.Event()

    def loader(folder: Path) -> Model:
        if folder.name == "slow":
            begun.set()
            assert gate.wait(PATIENT)
        return Model(folder.name)

    served = shelf(tmp_path, 100, loader)
    ask(served, "quick")
    assert served.lane("/invocations", {HEADER: "slow"}) == 0
    assert served.lane("/invocations", {HEADER: "quick"}) > 0
    assert served.lane("/models/quick/invoke", {}) == served.lane("/invocations", {HEADER: "quick"})
    assert served.lane("/models", {}) == served.lane("/models/quick", {}) == 0
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, served, "slow")
        assert begun.wait(PATIENT)
        assert ask(served, "quick").body == b"quick!"
        gate.set()
        assert slow.result(PATIENT).body == b"slow!"


def test_a_failed_load_fails_for_all_who_wait_and_is_tried_again(tmp_path: Path) -> None:
    place(tmp_path, "a")
    gate = threading.Event()
    broken = [True]

    def loader(folder: Path) -> Model:
        assert gate.wait(PATIENT)
        if broken:
            raise ModelFailed("no luck")
        return Model(folder.name)

    served = shelf(tmp_path, 100, loader)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, served, "a") for _ in range(3)]
        gate.set()
        for one in answers:
            with pytest.raises(ModelFailed, match="no luck"):
                one.result(PATIENT)
    broken.clear()
    assert ask(served, "a").body == b"a!"
    assert 1 <= served.counts.failures <= 3


def test_a_model_that_answers_is_not_taken_apart(tmp_path: Path) -> None:
    place(tmp_path, "b", 60)
    content = tmp_path.parent / f"{tmp_path.name}-content"
    place(content, "a", 60)
    package.write(content / "a", tmp_path / "a.tar.gz")
    (content / "a" / "code").rmdir()
    gate = threading.Event()
    models: dict[str, Model] = {}
    folders: dict[str, Path] = {}

    def loader(folder: Path) -> Model:
        folders[folder.name] = folder
        models[folder.name] = Model(folder.name, gate if folder.name == "a" else None)
        return models[folder.name]

    served = shelf(tmp_path, 100, loader)
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(ask, served, "a.tar.gz")
        while not models.get("a") or not models["a"].begun.wait(0.01):
            assert not busy.done()
        other = pool.submit(ask, served, "b")
        while names(served) != []:
            assert not other.done()
        assert folders["a"].is_dir()
        gate.set()
        assert (busy.result(PATIENT).body, other.result(PATIENT).body) == (b"a!", b"b!")
    assert not folders["a"].exists()
    assert names(served) == ["b"]


def test_room_that_does_not_come(tmp_path: Path) -> None:
    place(tmp_path, "a", 60)
    place(tmp_path, "b", 60)
    gate = threading.Event()
    model = Model("a", gate)
    served = shelf(tmp_path, 100, lambda folder: model, patience=0.01)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(ask, served, "a")
        assert model.begun.wait(PATIENT)
        with pytest.raises(NoMemory, match="try again"):
            ask(served, "b")
        gate.set()
        assert busy.result(PATIENT).status == 200


def test_keys(tmp_path: Path) -> None:
    root = tmp_path / "models"
    place(root, "team/a")
    place(tmp_path, "secret")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "circle").symlink_to(root / "circle")
    (root / "plain.txt").write_text("x")
    served = shelf(root, 100)
    assert ask(served, "team/a").status == 200
    assert find(root, "team/a") == (root / "team/a").resolve()
    refused = (
        "/etc",
        "../secret",
        "team/../../secret",
        "..",
        ".",
        "team\\a",
        "a\0b",
        "a\nb",
        ".git",
        "x" * 1025,
    )
    for key in refused:
        answer = ask(served, key)
        assert (answer.status, dict(answer.headers)) == (400, {"x-amzn-errortype": "ValidationError"}), key
    for key in ("b", "team", "link", "circle", "plain.txt", "a.tar.gz", "y" * 400):
        answer = ask(served, key)
        assert (answer.status, dict(answer.headers)) == (404, {"x-amzn-errortype": "ValidationError"}), key
        assert key[:100] in json.loads(answer.body)["message"]
    nameless = served.respond(Request(b""))
    assert (nameless.status, json.loads(nameless.body)["message"][:12]) == (400, "name a model")
    assert served.counts.loads == 1


@given(st.text(max_size=30))
def test_no_key_leaves_the_root(key: str) -> None:
    root = Path(__file__).parent
    try:
        assert find(root, key).is_relative_to(root.resolve())
    except ServingError as error:
        assert error.status in {400, 404}


def call(served: MultiModelResponder, method: str, path: str, body: object = None) -> tuple[int, object]:
    sent = b"" if body is None else json.dumps(body).encode()
    answer = served.manage(method, path, {}, sent)
    assert answer is not None
    return answer.status, json.loads(answer.body) if answer.body[:1] in (b"{", b"[") else answer.body


def test_the_management_calls(tmp_path: Path) -> None:
    for key in ("x1/model", "x2/model", "lazy"):
        place(tmp_path, key, 40)
    served = shelf(tmp_path, 100)
    urls = {name: f"{tmp_path}/{name}/model" for name in ("x1", "x2")}
    assert call(served, "POST", "/models", {"model_name": "x1", "url": urls["x1"]})[0] == 200
    status, problem = call(served, "POST", "/models", {"model_name": "x1", "url": urls["x1"]})
    assert status == 409
    ask(served, "lazy")
    status, problem = call(served, "POST", "/models", {"model_name": "x2", "url": urls["x2"]})
    assert status == 507, problem  # the platform unloads, not the server
    assert call(served, "DELETE", "/models/lazy") == (200, b"")
    assert call(served, "POST", "/models", {"model_name": "x2", "url": "file://" + urls["x2"]})[0] == 200
    with pytest.raises(NoMemory):
        ask(served, "lazy")  # nor does it unload what the platform has loaded
    shown = {"modelName": "x1", "modelUrl": urls["x1"]}
    assert call(served, "GET", "/models/x1") == (200, shown)
    assert call(served, "GET", "/models") == (
        200,
        {"models": [shown, {"modelName": "x2", "modelUrl": urls["x2"]}]},
    )
    assert call(served, "POST", "/models/x1/invoke") == (200, b"model")
    assert call(served, "POST", "/models/x3/invoke")[0] == 404
    assert call(served, "GET", "/models/x3")[0] == call(served, "DELETE", "/models/x3")[0] == 404
    assert call(served, "DELETE", "/models/x1") == (200, b"")
    assert call(served, "DELETE", "/models/x1")[0] == 404


def test_management_calls_that_are_refused(tmp_path: Path) -> None:
    place(tmp_path / "models", "a")
    place(tmp_path, "secret")
    served = shelf(tmp_path / "models", 100)
    for body in (
        None,
        [],
        {"model_name": "a"},
        {"model_name": 1, "url": "x"},
        {"model_name": "", "url": "x"},
        {"model_name": "a/", "url": f"{tmp_path}/models/a"},
        {"model_name": "a/invoke", "url": f"{tmp_path}/models/a"},
        {"model_name": "a\n", "url": f"{tmp_path}/models/a"},
    ):
        assert call(served, "POST", "/models", body)[0] == 400
    for url in ("/etc", f"{tmp_path}/secret", f"{tmp_path}/models/../secret", "a", f"{tmp_path}/models/"):
        assert call(served, "POST", "/models", {"model_name": "a", "url": url})[0] == 400
    assert call(served, "POST", "/models", {"model_name": "a", "url": f"{tmp_path}/models/b"})[0] == 404
    for method, path in (("PUT", "/models"), ("POST", "/models/a"), ("GET", "/models/a/invoke")):
        assert call(served, method, path)[0] == 405
    assert call(served, "GET", "/models?next_page_token=*")[0] == 400
    assert served.manage("GET", "/model", {}, b"") is None


@pytest.mark.parametrize(
    "name", ["a/b", "a%2Fb", "100%25", "a?b=1", "invoke/a", "/a", "a b", "team/invoke/x.tar.gz"]
)
def test_a_name_is_any_text(tmp_path: Path, name: str) -> None:
    place(tmp_path, "x")
    served = shelf(tmp_path, 100)
    shown = {"modelName": name, "modelUrl": f"{tmp_path}/x"}
    assert call(served, "POST", "/models", {"model_name": name, "url": f"{tmp_path}/x"}) == (200, shown)
    assert call(served, "GET", f"/models/{name}") == (200, shown)
    assert served.lane(f"/models/{name}/invoke", {}) > 0
    assert call(served, "POST", f"/models/{name}/invoke") == (200, b"x")
    assert call(served, "DELETE", f"/models/{name}") == (200, b"")
    assert served.lane(f"/models/{name}/invoke", {}) == 0
    assert call(served, "GET", f"/models/{name}")[0] == 404


@given(st.integers(0, 3 * PAGE + 1))
def test_pages_together_show_every_model_once(number: int) -> None:
    models = tuple(Managed(f"m{n}", "u") for n in range(number))
    shown, token = [], ""
    while True:
        found = page(models, token)
        assert isinstance(found["models"], list)
        shown += [one["modelName"] for one in found["models"]]
        if not (token := str(found.get("nextPageToken", ""))):
            break
    assert sorted(shown) == sorted(one.name for one in models)
    assert len(shown) == number


def test_from_the_environment(tmp_path: Path) -> None:
    served = load(tmp_path, {"SAGEMAKER_MULTI_MODEL": "true", "SEAWAY_MULTI_MODEL_MEMORY_IN_MB": "0.5"})
    assert isinstance(served, MultiModelResponder)
    assert "seaway_models_memory_budget_bytes 524288\n" in served.metrics()
    assert served.execution_parameters["MaxConcurrentTransforms"] == 1
    with pytest.raises(ServingError, match="SEAWAY_MULTI_MODEL_MEMORY_IN_MB"):
        load(tmp_path, {"SAGEMAKER_MULTI_MODEL": "true", "SEAWAY_MULTI_MODEL_MEMORY_IN_MB": "lots"})
    whole = load(tmp_path, {"SAGEMAKER_MULTI_MODEL": "true"})
    assert isinstance(whole, MultiModelResponder)
