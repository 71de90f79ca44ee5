"""Requests gather while the model works; nobody is lost, nobody waits for an idle server, and too many are refused."""

import asyncio
import threading
import time

import pytest
import torch

from demur.serve.http_errors import RequestError
from demur.serve.micro_batches import MicroBatches, Waiting


class Rows:
    """Stands in for decisions: which images were asked about."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def part(self, start, stop):
        return Rows(self.values[start:stop])


class Model:
    """Notes what it was asked, may be held up, and breaks on the number 13."""

    def __init__(self):
        self.batches, self.free, self.sites = [], threading.Event(), []
        self.free.set()

    def __call__(self, images, details, sites):
        self.free.wait()
        values = images.flatten().tolist()
        self.batches.append(values)
        self.sites.append(list(sites))
        if 13 in values:
            raise ValueError("unlucky")
        return Rows(values)


@pytest.fixture
def model():
    return Model()


def queue_of(model, **given):
    settings = {"batch": 4, "queue": 100, "wait": 0.001, "name": "test", **given}
    return MicroBatches(model, lambda pairs: [f"{len(each)}" for each, _ in pairs], **settings)


def waiting_for(*values, site=None):
    decoded = torch.tensor(values, dtype=torch.float32), ("",) * len(values)
    return Waiting(rows=len(values), decode=lambda: decoded, site=site)


async def ask(queue, *values, site=None):
    queue.admit(len(values))
    waiting = waiting_for(*values, site=site)
    queue.put(waiting)
    found, beside = await waiting.decision
    assert beside == f"{len(values)}"
    return found.values


async def held(model, queue, *asked):
    """The first is being decided while the others come; then all go on."""
    model.free.clear()
    tasks = [asyncio.create_task(ask(queue, *asked[0]))]
    await asyncio.sleep(0.05)
    tasks += [asyncio.create_task(ask(queue, *values)) for values in asked[1:]]
    await asyncio.sleep(0.05)
    model.free.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_comes_meanwhile_is_decided_together_and_nobody_gets_the_rows_of_another(model):
    queue = queue_of(model)
    found = asyncio.run(held(model, queue, (1.0,), (2.0,), (3.0, 4.0), (5.0,), (6.0, 7.0)))
    assert found == [[1], [2], [3, 4], [5], [6, 7]]
    assert model.batches == [[1], [2, 3, 4, 5], [6, 7]]  # a request is never torn apart
    assert queue.depth == 0
    queue.close()


def test_a_request_larger_than_a_batch_is_one_batch(model):
    queue = queue_of(model)
    assert asyncio.run(ask(queue, *map(float, range(9)))) == list(range(9))
    queue.close()


def test_an_idle_server_does_not_wait(model):
    queue = queue_of(model, wait=5.0)
    began = time.perf_counter()
    asyncio.run(ask(queue, 1.0))
    assert time.perf_counter() - began < 2
    queue.close()


def test_a_batch_waits_for_what_is_being_decoded(model):
    async def both():
        queue.admit(1)
        first = asyncio.create_task(ask(queue, 1.0))
        await asyncio.sleep(0.05)
        second = waiting_for(2.0)
        queue.put(second)
        return await first, (await second.decision)[0].values

    queue = queue_of(model, wait=5.0)
    assert asyncio.run(both()) == ([1], [2])
    assert model.batches == [[1, 2]]
    queue.close()


def test_what_is_withdrawn_is_not_waited_for(model):
    async def one():
        queue.admit(1)
        task = asyncio.create_task(ask(queue, 1.0))
        await asyncio.sleep(0.02)
        queue.withdraw(1)
        return await task

    queue = queue_of(model, wait=30.0)
    began = time.perf_counter()
    assert asyncio.run(one()) == [1]
    assert time.perf_counter() - began < 10
    assert queue.depth == 0
    queue.close()


def test_a_full_queue_says_when_to_come_again(model):
    async def fill():
        model.free.clear()
        tasks = [asyncio.create_task(ask(queue, 1.0, 2.0)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(RequestError, match="4 images wait already, of at most 5; got 2 more") as refused:
            queue.admit(2)
        model.free.set()
        await asyncio.gather(*tasks)
        return refused.value

    queue = queue_of(model, queue=5)
    refused = asyncio.run(fill())
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    queue.admit(5)  # there is room again
    queue.withdraw(5)
    queue.close()


def test_one_that_breaks_the_model_breaks_no_other(model):
    queue = queue_of(model)
    found = asyncio.run(held(model, queue, (1.0,), (2.0,), (13.0,), (3.0,)))
    assert isinstance(found.pop(2), ValueError)
    assert found == [[1], [2], [3]]
    assert model.batches[1:] == [[2, 13, 3], [2], [13], [3]]
    queue.close()


def test_whoever_no_longer_waits_is_not_decided_about(model):
    async def leave():
        model.free.clear()
        first = asyncio.create_task(ask(queue, 1.0))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(ask(queue, 2.0))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0.02)
        model.free.set()
        return await first, await ask(queue, 3.0)

    queue = queue_of(model)
    assert asyncio.run(leave()) == ([1], [3])
    assert model.batches == [[1], [3]]
    assert queue.depth == 0
    queue.close()


def test_the_end_decides_all_that_was_admitted_and_admits_no_more(model):
    async def end():
        model.free.clear()
        tasks = [asyncio.create_task(ask(queue, float(value))) for value in range(6)]
        queue.admit(1)  # is being decoded while it ends
        await asyncio.sleep(0.02)
        closing = asyncio.get_running_loop().run_in_executor(None, queue.close)
        await asyncio.sleep(0.02)
        with pytest.raises(RequestError, match="being replaced or ended") as refused:
            queue.admit(1)
        late = waiting_for(9.0)
        queue.put(late)
        model.free.set()
        found = await asyncio.gather(*tasks, late.decision)
        await closing
        return refused.value.status, found[:6], found[6][0].values

    queue = queue_of(model)
    assert asyncio.run(end()) == (503, [[0], [1], [2], [3], [4], [5]], [9])


def test_an_observer_that_fails_is_told_to_whoever_asked_and_the_thread_goes_on(model):
    def observe(pairs):
        raise KeyError("nothing")

    queue = MicroBatches(model, observe, batch=4, queue=9, wait=0, name="test")
    for _ in range(2):
        with pytest.raises(KeyError):
            asyncio.run(ask(queue, 1.0))
    queue.close()


def test_under_load_the_model_goes_on_while_decisions_are_observed_in_order(model):
    free, observed = threading.Event(), []

    def observe(pairs):
        free.wait(10)
        observed.append([value for _, found in pairs for value in found.values])
        return [f"{len(each)}" for each, _ in pairs]

    async def load():
        model.free.clear()
        tasks = [asyncio.create_task(ask(queue, float(value))) for value in range(4)]
        await asyncio.sleep(0.05)
        model.free.set()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if len(model.batches) >= 3:
                break
        made, inside = len(model.batches), queue.depth
        free.set()
        return made, inside, await asyncio.gather(*tasks)

    queue = MicroBatches(model, observe, batch=1, queue=9, wait=0, name="test")
    made, inside, found = asyncio.run(load())
    assert made >= 3  # of four, and the first is still being observed
    assert inside == 4
    assert found == [[0], [1], [2], [3]]
    assert observed == [[0], [1], [2], [3]]
    queue.close()


def test_each_image_is_decided_at_the_site_of_its_request(model):
    async def two():
        model.free.clear()
        tasks = [asyncio.create_task(ask(queue, 0.0))]
        await asyncio.sleep(0.02)
        tasks += [
            asyncio.create_task(ask(queue, *rows, site=site)) for site, rows in (("a", (1.0, 2.0)), ("b", (3.0,)))
        ]
        await asyncio.sleep(0.02)
        model.free.set()
        await asyncio.gather(*tasks)

    queue = queue_of(model)
    asyncio.run(two())
    assert model.sites == [[None], ["a", "a", "b"]]
    queue.close()


def test_who_no_longer_waits_is_not_observed(model):
    observed = []

    def observe(pairs):
        observed.extend(pairs)
        return [f"{len(each)}" for each, _ in pairs]

    async def both():
        model.free.clear()
        queue.admit(1)
        first = waiting_for(1.0)
        queue.put(first)
        await asyncio.sleep(0.05)
        first.decision.cancel()  # its time is over while the model works
        model.free.set()
        return await ask(queue, 2.0)

    queue = MicroBatches(model, observe, batch=4, queue=100, wait=0.001, name="test")
    assert asyncio.run(both()) == [2]
    assert [len(each) for each, _ in observed] == [1]
    assert model.batches == [[1], [2]]
    queue.close()
