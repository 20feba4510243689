"""The contract kit catches what it should, lets strangers pass, and says what broke."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from unittest import SkipTest

import mutants
import pytest
import test_storage
from hypothesis.errors import Flaky
from strangers import Late, Stranger
from twisted.internet.task import Clock

from dhcptwist.storage.index import LeaseIndex
from dhcptwist.storage.memory import MemoryStorage
from dhcptwist.storage.sqlite_journal import SQLiteJournal
from dhcptwist.testing import DurableStorageContract, StorageContract
from dhcptwist.testing.histories import try_histories


PAGE = Path(__file__).resolve().parents[1] / "docs" / "contract.md"


def contract_of(make):
    """Give the contract of what ``make(network, reservations)`` gives, as one would."""

    class Contract(StorageContract):
        def make(self, network, reservations=()):
            return make(network, reservations)

    return Contract


def rules(contract):
    """Give the names of a contract's tests, but for the random one."""
    every = [name for name in dir(contract) if name.startswith("test_")]
    assert "test_any_history" in every
    return [name for name in every if name != "test_any_history"]


# --- strangers ----------------------------------------------------------------------------


class TestStranger(StorageContract):
    """Five verbs are enough; the rest of the contract is passed over."""

    def make(self, network, reservations=()):
        """A stranger's pool."""
        return Stranger(network, reservations)


class TestLate(StorageContract):
    """One that answers later, by a clock that the kit moves on."""

    clock = Clock()

    def make(self, network, reservations=()):
        """A stranger's pool that takes its time."""
        return Late(Stranger(network, reservations), self.clock, 3.0)


def test_one_that_is_too_slow():
    """Beyond ``patience`` it has not answered; the question is named."""

    class Contract(StorageContract):
        clock = Clock()
        patience = 2.0

        def make(self, network, reservations=()):
            return Late(Stranger(network, reservations), self.clock, 3.0)

    with pytest.raises(AssertionError, match="no answer yet") as caught:
        Contract().test_every_question_is_answered()
    assert "offer in INIT by one of 60" in "".join(caught.value.__notes__)
    assert "within 2 s" in "".join(caught.value.__notes__)


def test_failing_is_an_answer():
    """A storage that cannot, and says so, has not broken its deadline."""

    class Failing(Stranger):
        async def commit(self, client, address, when):
            raise OSError(28, "no space left")

    contract = contract_of(Failing)()
    contract.test_every_question_is_answered()
    with pytest.raises(OSError, match="no space left") as caught:
        contract.test_an_address_has_one_client()
    assert "commit of 192.0.2.10 by 02:00" in "".join(caught.value.__notes__)


# --- what it says -------------------------------------------------------------------------


def test_a_broken_rule_says_which():
    """The rule with its section, and what was asked and answered."""

    class Thief(Stranger):
        def is_free(self, client, address, when):
            return True

    with pytest.raises(AssertionError) as caught:
        contract_of(Thief)().test_an_offered_address_is_not_another_s_to_take()
    rule, *told = str(caught.value).splitlines()
    assert rule == "invariant 5: it took an address offered to another"
    asked = (
        "offer by 02:00:00:00:01:00 in INIT",
        "commit of 192.0.2.10 by 02:00:00:00:01:01",
    )
    assert len(told) == len(asked)
    for line, words in zip(told, asked, strict=True):
        assert words in line
        assert line.endswith("-> 192.0.2.10 for 3600 s")


def passed_over(contract):
    """Run a contract, all but its random histories; give the reasons of what it skips."""
    reasons = {}
    for name in rules(contract):
        try:
            getattr(contract(), name)()
        except SkipTest as reason:
            reasons[name] = str(reason)
    return reasons


def test_what_is_not_provided_is_passed_over():
    """With the reason, and only what is about it."""
    contract = contract_of(Stranger)
    reasons = passed_over(contract)
    assert set(reasons.values()) == {
        f"Stranger does not provide {interface}"
        for interface in (
            "IReservations",
            "ILeases",
            "IHistory",
            "IClockListener",
            "INetworkListener",
        )
    }
    assert len(reasons) < len(rules(contract)) / 2


def test_without_a_storage():
    """Who forgets `make` is told."""
    with pytest.raises(AssertionError, match="write make"):
        StorageContract().test_an_offer_is_held()


def test_without_hypothesis(monkeypatch):
    """It is said how to get it; everything else goes on."""
    monkeypatch.delitem(sys.modules, "dhcptwist.testing.histories")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(AssertionError, match=r"pip install 'dhcptwist\[contract\]'"):
        contract_of(Stranger)().test_any_history()
    contract_of(Stranger)().test_an_offer_is_held()


def test_the_page_s_storage():
    """What docs/contract.md shows is run, and passes."""
    code = PAGE.read_text("utf-8").split("```python\n")[1].split("```")[0]
    space = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), space)
    reasons = passed_over(space["TestMine"])
    assert list(reasons.values()) == ["MemoryStorage does not provide IHistory"]


# --- mutants ------------------------------------------------------------------------------


MUTANTS = [
    (mutants.NoOfferCheck, "an_offered_address_is_not_another_s_to_take"),
    (mutants.OffersAnything, "the_requested_address_is_given_if_free"),
    (mutants.OffersForever, "an_offer_is_held"),
    (mutants.WishFirst, "the_whole_order"),
    (mutants.LatestFirst, "the_longest_unused_address_is_given_first"),
    (mutants.ReleaseForgotten, "a_release_that_is_repeated"),
    (mutants.ReleaseTakesTheLease, "another_server_won_and_the_lease_stays"),
    (mutants.AnybodyReleases, "only_the_holder_releases"),
    (mutants.DeclineForgotten, "a_declined_address_rests"),
    (mutants.DeclineForever, "a_declined_address_rests"),
    (mutants.DeclineExtended, "a_decline_that_is_repeated"),
    (mutants.ShortRenewals, "a_renewal_makes_no_lease_shorter"),
    (mutants.NoSettings, "settings_without_an_address"),
    (mutants.NoPorts, "reserved_for_a_relay_s_port"),
    (mutants.ConfirmsAnything, "unknown_clients_are_confirmed_nothing"),
    (mutants.FailsOnOddities, "odd_questions"),
    (mutants.FreeForAllOutside, "a_reserved_address_outside_the_pools"),
    (mutants.MoveStays, "push_and_move"),
    (mutants.MoveLoops, "push_and_move_to_nowhere"),
    (mutants.WaitIsForever, "push_and_wait"),
    (mutants.RefuseIsHalfDone, "push_and_refuse"),
    (mutants.AnySource, "pushes_that_conflict"),
    (mutants.TwoForOne, "push_a_change"),
    (mutants.NoLifetimes, "push_for_a_while"),
    (mutants.HalfABatch, "change_nothing_if_one_cannot_be"),
    (mutants.LeftOut, "change_nothing_if_one_cannot_be"),
    (mutants.AddsFirst, "change_places"),
    (mutants.NoTrial, "change_on_trial"),
    (mutants.OneRevision, "revisions"),
    (mutants.CancelForgotten, "push_a_free_address"),
    (mutants.RevokeFrees, "revoke"),
    (mutants.RevokeForgotten, "revoke"),
    (mutants.DryRunTakes, "leases_of_another_server"),
    (mutants.ImportOverwrites, "leases_of_another_server"),
    (mutants.DeafToTheClock, "the_clock_is_set"),
    (mutants.RestsMoveNot, "the_clock_is_set_while_addresses_rest"),
    (mutants.ReservationsMoveNot, "push_for_a_while"),
    (mutants.NearlyInfinite, "infinite_leases"),
    (mutants.Hangs, "every_question_is_answered"),
    (mutants.TellsTwice, "events"),
    (mutants.TellsNothing, "events"),
    (mutants.TellsForever, "events"),
    (mutants.OldPools, "pools_that_change"),
    (mutants.OldPools, "subnets_that_come_and_go"),
    (mutants.LosesLeases, "subnets_that_come_and_go"),
    (mutants.KeepsReservations, "reservations_that_change"),
    (mutants.PushedWins, "a_pushed_reservation_gives_way"),
    (mutants.PushedIsLost, "a_pushed_reservation_gives_way"),
    (mutants.Thinks, "many_ask_before_anybody_is_answered"),
    (mutants.Together, "storages_do_not_share"),
]


@pytest.mark.parametrize(
    ("mutant", "rule"), MUTANTS, ids=[f"{m.__name__}-{rule}" for m, rule in MUTANTS]
)
def test_mutants_are_caught(mutant, rule):
    """Each by the rule that is about what it does wrong."""
    contract = contract_of(mutant)
    contract.clock = getattr(mutant, "clock", None)
    with pytest.raises((AssertionError, KeyError)):
        getattr(contract(), f"test_{rule}")()


@pytest.mark.parametrize(
    "mutant",
    [
        mutants.OffersAnything,
        mutants.AnybodyReleases,
        mutants.DeclineForgotten,
        mutants.RevokeFrees,
        mutants.DeafToTheClock,
        mutants.ImportOverwrites,
        mutants.ReleaseForgotten,
        mutants.ConfirmsAnything,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_random_histories_catch_mutants(mutant):
    """Also without the tests that are about them; found, and not yet made short."""
    with pytest.raises((AssertionError, Flaky)):
        try_histories(contract_of(mutant)(), shrink=False)


# --- mutants that a crash or a restart shows ----------------------------------------------


@pytest.mark.parametrize(
    ("where", "verb", "wrong", "rule"),
    [
        (SQLiteJournal, "keep", mutants.early, "a_crash_takes_nothing_back"),
        (SQLiteJournal, "keep", mutants.told_early, "a_crash_takes_nothing_back"),
        (
            LeaseIndex,
            "load",
            mutants.loaded_forever,
            "a_restart_keeps_the_time_that_is_left",
        ),
        (
            LeaseIndex,
            "load",
            mutants.loaded_without_ports,
            "a_restart_keeps_a_client_s_port",
        ),
        (LeaseIndex, "load", mutants.loaded_in_any_order, "a_restart_keeps_the_order"),
    ],
    ids=["early", "told early", "for ever", "without ports", "in any order"],
)
def test_durable_mutants_are_caught(where, verb, wrong, rule, monkeypatch, tmp_path):
    """Each by the rule that is about what it does wrong; and the unspoilt one is not."""
    for spoilt in (False, True):
        contract = test_storage.TestSQLite()
        contract.places = (tmp_path / f"{spoilt}{n}.sqlite" for n in count())
        contract.disks = []
        if spoilt:
            monkeypatch.setattr(where, verb, wrong(getattr(where, verb)))
        try:
            if spoilt:
                with pytest.raises(AssertionError):
                    getattr(contract, f"test_{rule}")()
            else:
                getattr(contract, f"test_{rule}")()
        finally:
            for disk in contract.disks:
                disk.close()


def test_a_crash_that_nobody_can_make():
    """It is passed over, with what is missing."""

    class Contract(DurableStorageContract):
        def make(self, network, reservations=()):
            return MemoryStorage(network, reservations)

    with pytest.raises(SkipTest, match="Contract has no crash"):
        Contract().test_a_crash_takes_nothing_back()
    with pytest.raises(AssertionError, match="needs restart"):
        Contract().test_a_restart_changes_nothing()
