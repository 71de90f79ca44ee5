"""One writer at a time, by an object that is renewed."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from demur.errors import InputError, RunError
from demur.remote.lease import Lease, lease_period
from demur.remote.objects import ConflictError, Objects, Version

KEY = "runs/first/lease.json"


@pytest.fixture
def lease(objects):
    """A function that makes a lease of a period in seconds; all are given back at the end."""
    made = []

    def make(period=0.6, own=objects):
        made.append(Lease(own, KEY, period=period))
        return made[-1]

    yield make
    for each in made:
        each.release()


def killed(held):
    """Its holder ends without a word: nobody renews it."""
    held._stop.set()
    held._thread.join()


def test_a_lease_is_there_until_it_is_given_back(lease, objects):
    own = lease()
    own.acquire()
    facts = json.loads(objects.get(KEY)[0])
    assert (facts["seconds"], own.is_held) == (0.6, True)
    own.release()
    assert (objects.get(KEY), own.is_held) == (None, False)


def test_while_it_is_renewed_nobody_else_gets_it(lease):
    lease().acquire()
    with pytest.raises(RunError, match=r"another process \(.+, process \d+\) is writing into s3://bucket. Wait"):
        lease().acquire()


def test_what_is_given_back_meanwhile_is_taken_at_once(lease):
    first, second = lease(30), lease(0.6)
    first.acquire()
    first.release()
    began = time.monotonic()
    second.acquire()
    assert time.monotonic() - began < 0.5


def test_a_lease_that_stands_still_is_taken_over_after_its_own_period_and_no_sooner(lease):
    first, second = lease(1.2), lease(0.3)
    first.acquire()
    killed(first)
    began = time.monotonic()
    second.acquire()
    assert 1.2 <= time.monotonic() - began < 2.5
    with pytest.raises(RunError, match="another has taken over"):
        first.confirm(anew=True)
    first.release()  # not its own any more
    second.confirm(anew=True)


def test_a_holder_that_slept_asks_before_it_goes_on(lease):
    first, second = lease(0.4), lease(0.4)
    first.acquire()
    killed(first)
    second.acquire()
    with pytest.raises(RunError, match="another has taken over"):
        first.confirm()


def test_a_holder_that_nobody_replaced_goes_on_after_any_time(lease):
    own = lease(0.3)
    own.acquire()
    killed(own)
    time.sleep(0.5)
    own.confirm()
    assert own.is_held


class Slow(Objects):
    """A store that takes its time, and knows what it refused."""

    refused: ClassVar[list[bytes]] = []

    def put(self, key, content, after):
        time.sleep(0.005)
        try:
            return super().put(key, content, after)
        except ConflictError:
            self.refused.append(content)
            raise


def test_many_who_ask_at_once_are_not_taken_for_others(lease, objects):
    own = lease(30, Slow("s3://bucket", objects.store))
    own.acquire()
    Slow.refused.clear()  # those that try the store
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: own._renew(), range(64)))
    assert (Slow.refused, own.is_held) == ([], True)


class Careless(Objects):
    """A store that writes whatever it is told."""

    def put(self, key, content, after):
        return super().put(key, content, self.version(key) if self.obeys(after) else after)

    def obeys(self, after):
        return True


class CarelessOfTags(Careless):
    """One that keeps to the first condition alone."""

    def obeys(self, after):
        return isinstance(after, Version)


@pytest.mark.parametrize("kind", [Careless, CarelessOfTags])
def test_a_store_that_does_not_keep_to_conditions_is_refused(lease, objects, kind):
    own = lease(own=kind("s3://bucket", objects.store))
    with pytest.raises(InputError, match="does not keep to conditional writes"):
        own.acquire()
    assert (objects.get(KEY), own.is_held) == (None, False)


@pytest.mark.parametrize("text", ["0", "soon", "1e9", "nan"])
def test_a_period_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("DEMUR_LEASE_SECONDS", text)
    with pytest.raises(InputError, match="DEMUR_LEASE_SECONDS must be a number of seconds from 1 to 3600; got"):
        lease_period()
