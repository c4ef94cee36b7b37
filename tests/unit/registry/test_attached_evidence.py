"""Reports that come after registration: kept by hash, noted in the ledger, asked for by the policy."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from configs.project import Approval, RiskRule
from registry.approvals import Person, Subject, decide
from registry.entry import Kind
from registry.errors import PolicyRefused
from registry.evidence import EvidenceDamaged, Finding, attach
from registry.standing import attached, standing
from tests.unit.registry.world import KINDS

VERSION = Subject("late-arrivals", "1")
NEEDS_REPLAY = Approval(required_evidence=(*KINDS, "replay"))
ALICE = Person("alice")
PASSED = Finding("replay", passed=True, summary="0 differences", metrics={"changed_share": 0.01})
FAILED = replace(PASSED, passed=False, summary="40 % of the labels flip", metrics={"changed_share": 0.4})


def add(world, finding, report=b"{}", version=None):
    desk, about = world.desk, version or world.version()
    return attach(desk.ledger, desk.shelf, about, finding, report, ("carol", "api"), world.tick())


def approve(world):
    return decide(world.desk, VERSION, "Approved", ALICE, world.tick())


def test_an_approval_waits_for_the_replay(world):
    world.build(NEEDS_REPLAY)
    with pytest.raises(PolicyRefused, match=r"missing \(replay\).*seaway replay"):
        approve(world)
    add(world, PASSED)
    assert approve(world).kind is Kind.APPROVED
    assert world.kinds() == ["registered", "refused", "evidence", "approved"]
    assert world.ledger.verify() == 4


def test_a_failed_replay_refuses_and_a_later_one_counts(world):
    world.build(NEEDS_REPLAY)
    add(world, PASSED, b"first")
    add(world, FAILED, b"second")
    with pytest.raises(PolicyRefused, match=r"did not pass \(replay\)"):
        approve(world)
    add(world, PASSED, b"third")
    assert approve(world).kind is Kind.APPROVED


def test_the_tag_in_the_registry_is_held_to_it_too(world, reconciler):
    world.build(NEEDS_REPLAY)
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    assert world.kinds()[-1] == "refused"
    add(world, PASSED)
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    assert world.kinds()[-2:] == ["approved", "triggered"]


def test_a_rule_may_look_at_its_figures(world, reconciler):
    world.build(Approval(automatic=(RiskRule(metric="replay.changed_share", max=0.02),)))
    reconciler.scan(world.tick())
    add(world, FAILED, b"bad")
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "evidence"]
    add(world, PASSED, b"good")
    reconciler.scan(world.tick())
    assert world.kinds()[-2:] == ["approved", "triggered"]


def test_evidence_changes_no_standing(world):
    world.build()
    approve(world)
    before = standing(world.ledger.entries())
    add(world, FAILED)
    after = standing(world.ledger.entries())
    assert replace(after, newest=before.newest) == before


def test_a_report_about_other_bytes_does_not_count(world):
    version = world.build(NEEDS_REPLAY)
    add(world, PASSED, version=replace(version, tags={**version.tags, "digest": "e" * 64}))
    with pytest.raises(PolicyRefused, match="missing"):
        approve(world)


def test_what_the_build_has_measured_cannot_be_replaced(world):
    world.build(kinds={**{kind: {"passed": True} for kind in KINDS}, "gate": {"passed": False}})
    add(world, replace(PASSED, kind="gate"))
    with pytest.raises(PolicyRefused, match=r"did not pass \(gate\)"):
        approve(world)


def test_attaching_again_changes_nothing_and_the_registered_hash_stays(world):
    world.build()
    tag = world.version().tags["evidence"]
    first, again = add(world, PASSED), add(world, PASSED)
    assert first == again
    assert (first.evidence, first.digest) == (hashlib.sha256(b"{}").hexdigest(), "d" * 64)
    assert list(attached(world.ledger.entries())) == ["replay"]
    assert world.version().tags["evidence"] == tag


def test_a_report_is_read_back_as_it_was_kept_or_not_at_all(world):
    pinned = world.desk.shelf.keep(b"report")
    assert world.desk.shelf.report(pinned) == b"report"
    (world.folder / "kept" / f"{pinned}.report").write_bytes(b"other")
    with pytest.raises(EvidenceDamaged, match="changed"):
        world.desk.shelf.report(pinned)
    with pytest.raises(EvidenceDamaged, match="not on the shelf"):
        world.desk.shelf.report("0" * 64)
