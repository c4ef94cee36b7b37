"""The laws of serverless inference: whatever happens in whatever order, they hold after every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.serverless.pool import ATTEMPTS, Assign, End, Fail, Phase, Pool, Refuse, Start


def phases(pool: Pool) -> list[str]:
    return [one.phase.name for one in pool.servers]


def test_from_zero_to_one_and_back() -> None:
    pool = Pool(most=2, kept=0, idle=10)
    assert pool.look(0) == []
    assert pool.arrive(1, 0) == [Start(1, waited_for=True)]
    assert pool.ready(1, 1) == [Assign(1, 1, cold=True)]
    assert pool.done(1, 2) == []
    assert pool.arrive(2, 3) == [Assign(2, 1, cold=False)]
    pool.done(1, 4)
    assert pool.next_look() == 14
    assert pool.look(13.9) == []
    assert pool.look(14) == [End(1)]
    assert pool.gone(1, 15) == []
    assert (pool.servers, pool.next_look()) == ((), None)


def test_what_comes_beyond_the_most_is_refused_whether_it_waits_or_not() -> None:
    pool = Pool(most=2, kept=0, idle=10)
    assert pool.arrive(1, 0) == [Start(1, waited_for=True)]
    assert pool.arrive(2, 0) == [Start(2, waited_for=True)]
    assert pool.arrive(3, 0) == [Refuse(3)]
    pool.ready(1, 1)
    assert pool.arrive(4, 1) == [Refuse(4)]
    pool.done(1, 2)  # the second request does not wait for the server that was started for it
    assert pool.waiting == 0
    assert phases(pool) == ["BUSY", "STARTING"]


def test_provisioned_servers_start_at_once_and_stay() -> None:
    pool = Pool(most=3, kept=2, idle=10)
    assert pool.look(0) == [Start(1, waited_for=False), Start(2, waited_for=False)]
    pool.ready(1, 1)
    pool.ready(2, 1)
    assert pool.next_look() is None
    assert pool.look(1000) == []
    pool.arrive(1, 1000)
    pool.arrive(2, 1000)
    assert pool.arrive(3, 1000) == [Start(3, waited_for=True)]
    pool.ready(3, 1001)
    pool.done(3, 1002)
    pool.done(1, 1003)
    pool.done(2, 1004)
    assert pool.look(1012) == [End(3)]
    assert pool.look(2000) == []


def test_a_provisioned_server_that_crashes_comes_back_after_a_pause() -> None:
    pool = Pool(most=1, kept=1, idle=10)
    pool.look(0)
    pool.ready(1, 1)
    assert pool.gone(1, 5) == []
    assert pool.next_look() == 6
    assert pool.look(6) == [Start(2, waited_for=False)]


def test_pauses_grow_while_a_provisioned_server_does_not_start() -> None:
    pool, now, pauses = Pool(most=1, kept=1, idle=10), 0.0, []
    pool.look(now)
    for server in range(1, 9):
        pool.gone(server, now)
        due = pool.next_look()
        assert due is not None
        pauses.append(due - now)
        now = due
        pool.look(now)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_those_who_wait_are_told_when_servers_do_not_start() -> None:
    pool = Pool(most=5, kept=0, idle=10)
    pool.arrive(1, 0)
    for attempt in range(1, ATTEMPTS):
        assert pool.gone(attempt, attempt) == [Start(attempt + 1, waited_for=True)]
    assert pool.gone(ATTEMPTS, 9) == [Fail(1)]
    assert pool.arrive(2, 10) == [Start(ATTEMPTS + 1, waited_for=True)]
    assert pool.gone(ATTEMPTS + 1, 11) == [Fail(2)]
    pool.arrive(3, 12)
    assert pool.ready(ATTEMPTS + 2, 13) == [Assign(3, ATTEMPTS + 2, cold=True)]


def test_a_request_that_gives_up_leaves_its_place() -> None:
    pool = Pool(most=1, kept=0, idle=10)
    pool.arrive(1, 0)
    assert pool.leave(1, 1) == []
    assert pool.ready(1, 2) == []
    assert pool.arrive(2, 3) == [Assign(2, 1, cold=False)]


def test_a_spoiled_server_takes_room_until_it_is_gone() -> None:
    pool = Pool(most=1, kept=0, idle=10)
    pool.arrive(1, 0)
    pool.ready(1, 1)
    assert pool.spoiled(1, 2) == [End(1)]
    assert pool.arrive(2, 3) == []
    assert pool.done(1, 3) == []
    assert pool.gone(1, 4) == [Start(2, waited_for=True)]


def test_after_closing_only_what_is_needed_goes_on() -> None:
    pool = Pool(most=3, kept=2, idle=10)
    pool.look(0)
    pool.ready(1, 1)
    pool.ready(2, 1)
    pool.arrive(1, 2)
    assert pool.close(3) == [End(1)]
    assert pool.done(2, 4) == [End(2)]


def test_other_limits_hold_at_once_and_end_nothing_that_works() -> None:
    pool = Pool(most=3, kept=0, idle=10)
    for one in (1, 2, 3):
        pool.arrive(one, 0)
        pool.ready(one, 1)
    pool.done(1, 2)
    assert pool.resize(2, 1, 3) == [End(1)]
    assert pool.arrive(4, 3) == [Refuse(4)]
    pool.gone(1, 4)
    assert pool.done(2, 5) == []
    assert pool.done(3, 6) == []
    assert pool.resize(3, 3, 7) == [Start(4, waited_for=False)]
    assert pool.arrive(5, 8) == [Assign(5, 3, cold=False)]


class Requests(RuleBasedStateMachine):
    """Requests, crashes and clocks at random; what the pool says is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.request = 0
        self.open: set[int] = set()
        self.at: dict[int, int] = {}
        self.crashed = False

    @initialize(most=st.integers(1, 4), kept=st.integers(0, 4), idle=st.sampled_from([0.0, 1.0, 5.0]))
    def begin(self, most: int, kept: int, idle: float) -> None:
        self.most, self.kept = most, min(kept, most)
        self.servers_left = self.requests_left = most
        self.pool = Pool(most, self.kept, idle)
        self.do(self.pool.look(0))

    def do(self, actions, spoiled: int | None = None) -> None:
        for action in actions:
            match action:
                case Assign(request, server):
                    assert request in self.open
                    assert server not in self.at
                    self.at[server] = request
                case Refuse(request) | Fail(request):
                    self.open.remove(request)
                case End(server):
                    assert server not in self.at
                    usable = [one for one in self.pool.servers if one.phase is not Phase.ENDING]
                    assert len(usable) >= self.kept or server == spoiled

    def one(self, data, *wanted: Phase) -> int:
        return data.draw(st.sampled_from([one.id for one in self.pool.servers if one.phase in wanted]))

    def has(self, *wanted: Phase) -> bool:
        return any(one.phase in wanted for one in self.pool.servers)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 6.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.pool.look(self.now))

    @rule()
    def arrive(self) -> None:
        self.request += 1
        full = len(self.open) >= self.most
        self.open.add(self.request)
        self.do(self.pool.arrive(self.request, self.now))
        assert (self.request in self.open) is not full

    @precondition(lambda self: self.has(Phase.STARTING))
    @rule(data=st.data())
    def ready(self, data) -> None:
        self.do(self.pool.ready(self.one(data, Phase.STARTING), self.now))

    @precondition(lambda self: self.at)
    @rule(data=st.data(), usable=st.booleans())
    def answered(self, data, usable: bool) -> None:
        server = data.draw(st.sampled_from(sorted(self.at)))
        self.open.remove(self.at.pop(server))
        self.crashed |= not usable
        if usable:
            self.do(self.pool.done(server, self.now))
        else:
            self.do(self.pool.spoiled(server, self.now), spoiled=server)

    @precondition(lambda self: self.pool.servers)
    @rule(data=st.data())
    def gone(self, data) -> None:
        server = self.one(data, *Phase)
        self.open.discard(self.at.pop(server, None))
        self.crashed = True
        self.do(self.pool.gone(server, self.now))

    @precondition(lambda self: self.pool.waiting)
    @rule(data=st.data())
    def give_up(self, data) -> None:
        request = data.draw(st.sampled_from(sorted(self.open - set(self.at.values()))))
        self.open.remove(request)
        self.do(self.pool.leave(request, self.now))

    @rule(most=st.integers(1, 4), kept=st.integers(0, 4))
    def resize(self, most: int, kept: int) -> None:
        self.most, self.kept = most, min(kept, most)
        self.crashed = True  # a server that is ending takes the room of a provisioned one
        self.do(self.pool.resize(most, self.kept, self.now))

    @invariant()
    def never_more_than_the_most(self) -> None:
        """What there was when the limit fell may go on; nothing is added to it."""
        if hasattr(self, "pool"):
            self.servers_left = max(self.most, min(self.servers_left, len(self.pool.servers)))
            self.requests_left = max(self.most, min(self.requests_left, len(self.open)))
            assert len(self.pool.servers) <= self.servers_left
            assert len(self.open) <= self.requests_left

    @invariant()
    def no_request_is_lost(self) -> None:
        if not hasattr(self, "pool"):
            return
        waiting = self.open - set(self.at.values())
        assert len(waiting) == self.pool.waiting
        assert len(self.at) == self.pool.busy
        if waiting:
            assert not self.has(Phase.IDLE)
            coming = sum(one.phase is Phase.STARTING for one in self.pool.servers)
            assert coming >= len(waiting) or len(self.pool.servers) >= self.most

    @invariant()
    def provisioned_servers_are_there_or_will_be(self) -> None:
        if not hasattr(self, "pool"):
            return
        usable = sum(one.phase is not Phase.ENDING for one in self.pool.servers)
        room = len(self.pool.servers) < self.most
        assert usable >= self.kept or not room or self.pool.next_look() is not None
        if not self.crashed:
            assert usable >= self.kept

    def teardown(self) -> None:
        """Left alone, servers without requests end, down to the provisioned ones."""
        if not hasattr(self, "pool"):
            return
        for _ in range(1000):
            if self.at:
                server = next(iter(self.at))
                self.open.remove(self.at.pop(server))
                self.do(self.pool.done(server, self.now))
            elif self.has(Phase.STARTING):
                one = next(one for one in self.pool.servers if one.phase is Phase.STARTING)
                self.do(self.pool.ready(one.id, self.now))
            elif self.has(Phase.ENDING):
                one = next(one for one in self.pool.servers if one.phase is Phase.ENDING)
                self.do(self.pool.gone(one.id, self.now))
            elif (due := self.pool.next_look()) is not None:
                self.now = max(self.now, due)
                self.do(self.pool.look(self.now))
            else:
                break
        assert not self.open
        assert phases(self.pool) == ["IDLE"] * self.kept


TestRequests = Requests.TestCase
TestRequests.settings = settings(stateful_step_count=40)
