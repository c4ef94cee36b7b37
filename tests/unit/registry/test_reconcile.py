"""What one scan after another makes of people's gestures."""

from __future__ import annotations

import pytest

from configs.project import Approval, RiskRule
from registry.approvals import Person, Subject, decide
from registry.errors import PolicyRefused
from registry.gestures import ANONYMOUS
from registry.port import STATUS, Candidate
from registry.standing import standing

VERSION = Subject("late-arrivals", "1")
IN_PRODUCTION = Subject("late-arrivals", "1", "production")
TWO = Approval(approvers=("alice", "bob", "carol"), persons=2, allow_unauthenticated=False)


def test_a_version_waits_until_somebody_decides(world, reconciler):
    world.build()
    assert reconciler.scan(world.tick()).entries == ()
    assert world.kinds() == ["registered"]
    assert world.version().tags[STATUS] == "PendingManualApproval"


@pytest.mark.parametrize("typed", ["Approved", " approved ", "APPROVED"])
def test_an_approval_is_noted_shown_and_triggered_once(world, reconciler, typed):
    world.build()
    world.set_tag(typed, by="alice")
    reconciler.scan(world.tick())
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "approved", "triggered"]
    approval = standing(world.ledger.entries()).approval
    assert (approval.actor, approval.details["authenticated"], approval.source) == (
        "alice",
        True,
        "registry-ui",
    )
    assert world.triggered == [approval.id]
    tags = world.version().tags
    assert (tags[STATUS], tags["approval.id"], tags["approved_by"]) == ("Approved", approval.id, "alice")
    assert tags["deploy.flow_run_id"] == f"run-{approval.id[:8]}"


def test_approving_again_after_a_rejection_is_a_new_act(world, reconciler):
    world.build()
    for value in ("Approved", "Rejected", "Approved"):
        world.set_tag(value, by="alice")
        reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "approved", "triggered", "rejected", "approved", "triggered"]
    assert len(set(world.triggered)) == 2
    assert world.version().tags["approval.id"] == world.triggered[-1]


def test_gestures_between_two_scans_are_all_taken(world, reconciler):
    world.build()
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    world.set_tag("Rejected", by="bob")
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    assert world.kinds()[3:] == ["rejected", "approved", "triggered"]
    assert len(set(world.triggered)) == 2


def test_pending_takes_an_approval_back(world, reconciler):
    world.build()
    world.set_tag("Approved")
    reconciler.scan(world.tick())
    world.set_tag("PendingManualApproval")
    reconciler.scan(world.tick())
    assert world.kinds()[-1] == "withdrawn"
    tags = world.version().tags
    assert tags[STATUS] == "PendingManualApproval"
    assert not {"approval.id", "approved_by", "deploy.flow_run_id"} & tags.keys()


def test_an_unknown_value_is_refused_and_set_back_with_a_note(world, reconciler):
    world.build()
    world.set_tag("Aproved", by="alice")
    report = reconciler.scan(world.tick())
    assert [entry.kind for entry in report.alarms] == ["refused"]
    assert world.version().tags[STATUS] == "PendingManualApproval"
    assert "'Aproved' is not a status" in world.version().description
    assert world.version().description.startswith("# Decision sheet")
    assert world.triggered == []


@pytest.mark.parametrize("value", ["nonsense", None])
def test_a_value_that_means_nothing_takes_an_approval_back(world, reconciler, value):
    world.build()
    world.set_tag("Approved")
    reconciler.scan(world.tick())
    world.set_tag(value)
    reconciler.scan(world.tick())
    assert world.kinds()[-1] == "withdrawn"
    assert world.version().tags[STATUS] == "PendingManualApproval"


def test_a_refused_approval_can_be_tried_again_and_is_refused_again(world, reconciler):
    world.build(Approval(approvers=("bob",)))
    for _ in range(2):
        world.set_tag("Approved")
        reconciler.scan(world.tick())
        reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "refused", "refused"]
    assert world.version().description.count("ask bob") == 2


def test_a_copy_with_a_forged_tag_is_refused(world, reconciler):
    original = world.build()
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    copied = Candidate("stolen", "r1", {**world.version().tags}, original.description)
    world.registry.register(copied)
    reconciler.scan(world.tick())
    (copy,) = world.registry.versions("stolen")
    assert copy.tags[STATUS] == "PendingManualApproval"
    assert "approval.id" not in copy.tags
    assert "not registered by Seaway" in copy.description
    assert len(world.triggered) == 1


def test_versions_of_others_are_left_alone(world, reconciler):
    world.registry.register(Candidate("theirs", "x", {"approval_status": "Rejected", "team": "other"}))
    world.registry.register(Candidate("theirs", "y", {}))
    reconciler.scan(world.tick())
    assert [dict(v.tags) for v in world.registry.versions("theirs")] == [
        {},
        {"approval_status": "Rejected", "team": "other"},
    ]
    assert world.ledger.entries() == []


def test_a_changed_digest_tag_is_refused(world, reconciler):
    world.build()
    world.registry.annotate("late-arrivals", "1", {"digest": "e" * 64, STATUS: "Approved"})
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "refused"]
    assert "`digest` tag" in world.version().description


def test_two_people_are_two_people(world, reconciler):
    world.build(TWO)
    world.set_tag("Approved", by="alice")
    reconciler.scan(world.tick())
    assert world.version().tags[STATUS] == "PendingManualApproval"
    assert "second person" in world.version().tags["approval_note"]
    world.set_tag("Approved", by="Alice ")
    reconciler.scan(world.tick())
    assert world.triggered == []
    world.set_tag("Approved", by="bob")
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "vote", "refused", "approved", "triggered"]


def test_a_tag_without_a_person_is_refused_when_the_project_says_so(world, reconciler):
    world.build(Approval(allow_unauthenticated=False))
    world.set_tag("Approved")
    reconciler.scan(world.tick())
    (_, refused) = world.ledger.entries()
    assert refused.actor == ANONYMOUS
    assert "unauthenticated" in refused.comment


def test_a_gesture_under_way_is_waited_for(world, reconciler):
    world.build()
    world.registry.annotate("late-arrivals", "1", {STATUS: "Approved"})
    at = world.tick()
    seq = world.gestures.begin(
        at=at,
        model="late-arrivals",
        version="1",
        value="Approved",
        actor="alice",
        authenticated=True,
        peer="",
    )
    assert reconciler.scan(at).waiting == (("late-arrivals", "1"),)
    assert world.kinds() == ["registered"]
    world.gestures.confirm(seq)
    reconciler.scan(at)
    assert standing(world.ledger.entries()).approval.actor == "alice"


def test_a_gesture_never_confirmed_has_no_author(world, reconciler):
    world.build()
    world.registry.annotate("late-arrivals", "1", {STATUS: "Approved"})
    world.gestures.begin(
        at=world.now,
        model="late-arrivals",
        version="1",
        value="Approved",
        actor="bob",
        authenticated=True,
        peer="",
    )
    for _ in range(3):
        reconciler.scan(world.tick())
    assert standing(world.ledger.entries()).approval.actor == ANONYMOUS


def test_rules_approve_what_is_safe(world, reconciler):
    world.build(Approval(automatic=(RiskRule(metric="roc_auc", min=0.75),)))
    reconciler.scan(world.tick())
    approval = standing(world.ledger.entries()).approval
    assert (approval.actor, approval.source) == ("policy", "policy")
    assert "roc_auc = 0.8 (>= 0.75)" in approval.comment
    world.set_tag("PendingManualApproval", by="alice")
    reconciler.scan(world.tick())
    reconciler.scan(world.tick())
    assert world.kinds()[-1] == "withdrawn"


def test_rules_leave_the_rest_to_people(world, reconciler):
    world.build(Approval(automatic=(RiskRule(metric="roc_auc", min=0.9),)))
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered"]


def test_one_bad_version_does_not_stop_the_others(world, reconciler):
    world.build()
    world.build(run="r2", metrics={"roc_auc": 0.9})
    (world.folder / "artifacts" / "r1" / "evidence" / "evidence.json").write_text("{}")
    world.set_tag("Approved", version="1")
    world.set_tag("Approved", version="2")
    reconciler.scan(world.tick())
    assert world.kinds("1") == ["registered", "refused"]
    assert "changed after registration" in world.version("1").description
    assert world.kinds("2") == ["registered", "approved", "triggered"]


def test_a_failing_trigger_is_tried_again_under_the_same_id(world):
    from registry.reconcile import Reconciler

    asked = []

    def trigger(approval):
        asked.append(approval.id)
        if len(asked) == 1:
            raise ConnectionError("Prefect is away")
        return "run"

    world.build()
    world.set_tag("Approved")
    reconciler = Reconciler(world.desk, trigger)
    report = reconciler.scan(world.tick())
    assert "Prefect is away" in report.failures[0].message
    assert reconciler.scan(world.tick()).failures == ()
    reconciler.scan(world.tick())
    assert len(asked) == 2
    assert len(set(asked)) == 1


def test_an_approval_taken_back_before_it_was_triggered_never_is(world):
    from registry.reconcile import Reconciler

    def away(_approval):
        raise ConnectionError("Prefect is away")

    world.build()
    world.set_tag("Approved", by="alice")
    Reconciler(world.desk, away).scan(world.tick())
    world.set_tag("Rejected", by="alice")
    Reconciler(world.desk, world.trigger).scan(world.tick())
    assert world.triggered == []


def test_the_command_line_writes_the_ledger_first_and_shows_it(world, reconciler):
    world.build()
    entry = decide(world.desk, VERSION, "Approved", Person("dave"), world.tick(), "looks right")
    assert world.version().tags[STATUS] == "Approved"
    assert world.version().tags["approved_by"] == "dave"
    reconciler.scan(world.tick())
    assert world.triggered == [entry.id]
    assert decide(world.desk, VERSION, "Approved", Person("erin"), world.tick()) == world.ledger.entries()[1]
    decide(world.desk, VERSION, "Rejected", Person("dave"), world.tick())
    decide(world.desk, VERSION, "PendingManualApproval", Person("dave"), world.tick())
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "approved", "triggered", "rejected", "withdrawn"]


def test_a_crash_between_ledger_and_tag_is_no_withdrawal(world, reconciler):
    world.build()
    decide(world.desk, VERSION, "Approved", Person("dave"), world.tick())
    world.registry.annotate(
        "late-arrivals", "1", {STATUS: "PendingManualApproval", "approval.id": None, "approval.seen": None}
    )
    reconciler.scan(world.tick())
    assert world.kinds() == ["registered", "approved", "triggered"]
    assert world.version().tags[STATUS] == "Approved"


def test_the_command_line_is_refused_with_a_sentence(world):
    world.build(Approval(self_approval=False))
    with pytest.raises(PolicyRefused, match="carol built this version"):
        decide(world.desk, VERSION, "Approved", Person("carol"), world.tick())
    assert world.kinds() == ["registered", "refused"]


def test_production_asks_for_staging_first(world, reconciler):
    world.build()
    with pytest.raises(PolicyRefused, match="approve it there first"):
        decide(world.desk, IN_PRODUCTION, "Approved", Person("dave"), world.tick())
    decide(world.desk, VERSION, "Approved", Person("dave"), world.tick())
    decide(world.desk, IN_PRODUCTION, "Approved", Person("dave"), world.tick())
    reconciler.scan(world.tick())
    assert standing(world.ledger.entries(), "production").status == "Approved"
    assert len(world.triggered) == 1


def test_an_alias_moved_by_hand_is_put_back_and_reported(world, reconciler):
    world.build()
    world.build(run="r2")
    wanted = {"late-arrivals": {"champion": "1", "previous": None}}
    reconciler.scan(world.tick(), wanted)
    assert world.version("1").aliases == ("champion",)
    assert reconciler.scan(world.tick(), wanted).entries == ()
    world.registry.set_alias("late-arrivals", "champion", "2")
    report = reconciler.scan(world.tick(), wanted)
    assert [entry.kind for entry in report.alarms] == ["alias_moved"]
    assert [entry.kind for entry in report.entries] == ["alias_moved", "alias_restored"]
    assert world.version("1").aliases == ("champion",)
    moved = {"late-arrivals": {"champion": "2", "previous": "1"}}
    assert [e.kind for e in reconciler.scan(world.tick(), moved).entries] == ["alias_set", "alias_set"]
    assert reconciler.scan(world.tick(), moved).entries == ()
    assert (world.version("1").aliases, world.version("2").aliases) == (("previous",), ("champion",))
