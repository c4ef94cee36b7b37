from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from configs.settings import DEFAULT_PORTS, Settings
from deploy.supervise import render
from seaway.programs import PORTS_OF, STOP_ORDER, choose_ports, services

ports = st.integers(1024, 1060)


def platform(**changes):
    return {s.name: s for s in services(Settings(home=Path("/h"), **changes), "/py", "/envoy")}


@given(
    st.dictionaries(st.sampled_from(sorted(DEFAULT_PORTS)), ports),
    st.sets(ports),
    st.sets(st.sampled_from(sorted(PORTS_OF))),
)
def test_ports_are_distinct_free_and_kept_by_what_runs(wanted, taken, running):
    kept = {name for program in running for name in PORTS_OF[program]}
    chosen = choose_ports(wanted, lambda port: port not in taken, running)
    assert set(chosen) == set(DEFAULT_PORTS)
    fresh = [port for name, port in chosen.items() if name not in kept]
    assert len(set(fresh)) == len(fresh)
    assert not set(fresh) & taken
    assert not set(fresh) & {chosen[name] for name in kept}
    assert all(chosen[name] == {**DEFAULT_PORTS, **wanted}[name] for name in kept)


def test_free_ports_stay_and_a_taken_one_moves_to_the_next():
    assert choose_ports({}, lambda port: True, ()) == DEFAULT_PORTS
    assert choose_ports({"prefect": 5000}, lambda port: port not in {8080, 8081}, ()) == {
        **DEFAULT_PORTS,
        "gateway": 8082,
        "prefect": 5000,
        "mlflow": 5001,
    }


def test_a_port_held_by_our_own_service_is_not_taken():
    assert choose_ports({}, lambda port: port != 4200, ["prefect"])["prefect"] == 4200


def test_every_program_is_known_to_the_ports_and_the_stop_order():
    assert set(platform()) == set(PORTS_OF) == set(STOP_ORDER)


def test_every_program_can_be_written_down_and_knows_its_home():
    for service in platform().values():
        assert "[program:" in render(service.program)
        assert service.program.environment["SEAWAY_HOME"] == "/h"
        assert bool(service.health) != bool(service.ready_file)


def test_prefect_keeps_its_leases_in_files_and_sends_nothing_home():
    environment = platform()["prefect"].program.environment
    assert environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith("lease_storage.filesystem")
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert (
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "sqlite+aiosqlite:////h/prefect/prefect.db"
    )


def test_addresses_follow_the_settings():
    moved = platform(
        ports={**DEFAULT_PORTS, "prefect": 4300}, prefect_database_url="postgresql+asyncpg://db/p"
    )
    assert moved["prefect"].health == "http://127.0.0.1:4300/api/health"
    assert moved["prefect"].program.command[-1] == "4300"
    assert moved["worker"].program.environment["PREFECT_API_URL"] == "http://127.0.0.1:4300/api"
    database = moved["prefect"].program.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert database == "postgresql+asyncpg://db/p"
