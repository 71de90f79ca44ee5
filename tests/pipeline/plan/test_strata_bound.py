"""What strata may make of a sample is told before images are read, and is never less than what is drawn of them."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, sqrt

import numpy as np
import pytest
import torch
from tests import tiny

from demur.data import build_index
from demur.data.lost_images import ListedSource
from demur.data.relabelled import under_classes
from demur.data.source import UNREAD
from demur.pipeline.drawn_rows import Draw, attackable, drawn_rows
from demur.pipeline.estimate.plan_estimate import Machines, estimate
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.plan_tables import Conditions
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.plan.sizing import Effort
from demur.pipeline.plan.strata_bound import StrataBound, listed_test_rows
from demur.pipeline.run.prepare import StandIns, prepared_job, written_out
from demur.splits import shares_of

PGD, DARK = "pgd(eps=0.1, steps=3)", "low_light(severity=3)"


@dataclass(frozen=True)
class Listed:
    """Rows of a source that lists them: of each image a site, a lot and a split of its own where there is one."""

    rows: tuple
    address: str = "listed"
    classes: tuple = ("cat", "dog", "hen", "owl")
    input_shape: tuple = (1, 6, 6)
    lost: tuple = ()

    def __len__(self):
        return len(self.rows)

    @property
    def listed(self):
        return tuple(row.showing(None, UNREAD) for row in self.rows)

    def read(self, positions):
        return (self.rows[at] for at in positions)


def listed(rows=900, *, splits=(None,), values=9):
    """Images of four classes, of which the last is rare, at sites of which most have few images."""
    rng = np.random.default_rng(rows)
    labels = rng.choice(4, rows, p=(0.6, 0.3, 0.09, 0.01))
    sites = rng.geometric(0.3, rows).clip(1, values)
    plain = tiny.source(2).read([0, 0])
    row = replace(next(iter(plain)), group=None, meta={})
    images, own = torch.rand(rows, 1, 6, 6, generator=torch.Generator().manual_seed(rows)), len(splits)
    return Listed(
        tuple(
            replace(
                row,
                sample_id=f"{at:05d}",
                image=images[at],
                label=int(labels[at]),
                group=f"lot {at // 7 // own} {at % own}",
                meta={"site": f"site {sites[at]}"},
                split=splits[at % own],
            )
            for at in range(rows)
        )
    )


def test_the_rows_are_known_before_their_images():
    assert isinstance(listed(), ListedSource)


@pytest.mark.parametrize("rows", [300, 900, 3200])
@pytest.mark.parametrize("splits", [(None,), ("test", "val"), ("tune", "certify"), ("test",)])
def test_no_more_is_drawn_than_was_told(rows, splits):
    source = listed(rows, splits=splits)
    index = build_index(source, held_out=True)
    for name, (count, least) in product(("label", "group", "site", None), ((20, 2), (50, 9), (10_000, 3))):
        plan = Plan(conditions=Conditions(attacked=count, corrupted=count, strata=name, least=name and least))
        effort, draw = Effort.before(source, plan), Draw(count, name, least)
        attacked, corrupted = drawn_rows(index, attackable(index), draw), drawn_rows(index, None, draw)
        assert len(corrupted.rows) <= effort.corrupted(plan) <= rows
        assert len(attacked.rows) <= effort.attacked(plan)


@pytest.mark.parametrize(("rows", "limit"), [(3200, 500), (3200, 2000), (900, 500), (900, 100), (500, 100)])
@pytest.mark.parametrize("source", [tiny.source, listed])
def test_under_a_limit_splits_are_those_of_the_whole_set(rows, limit, source):
    source = source(rows)
    index, plan = build_index(source, limit=limit), read_plan(None, [f"data.limit={limit}"])
    effort, tested = Effort.before(source, plan), len(attackable(index))
    assert tested <= effort.attackable <= limit
    expected = shares_of(rows)["test"] * limit
    assert expected <= effort.attackable
    if source.address != "listed" and expected:  # rows that are alone are shared out evenly
        assert effort.attackable <= expected + 2 * limit**0.5 + 1


def test_a_group_is_tested_as_a_whole_or_not_at_all():
    grouped, alone = (
        listed(3200),
        replace(listed(3200), rows=tuple(replace(row, group=None) for row in listed(3200).rows)),
    )
    assert Effort.before(alone, Plan()).attackable == ceil(1280 + 4 * sqrt(0.4 * 0.6 * 3200))
    sizes = Counter(row.group for row in grouped.rows).values()
    assert Effort.before(grouped, Plan()).attackable == ceil(1280 + 4 * sqrt(0.24 * sum(size**2 for size in sizes)))
    limited = read_plan(None, ["data.limit=100"])
    assert Effort.before(grouped, limited).attackable == ceil(40 + 4 * sqrt(0.24 * 100 * 7))


def test_rows_that_are_trained_on_count_for_no_share():
    source = listed(700, splits=("test", "train"))  # 350 are held out: all of them may be attacked
    assert Effort.before(source, Plan()).attackable == 700


def test_the_bound_is_what_was_asked_and_the_least_of_each_stratum_that_the_data_list():
    source = listed(3200)
    sizes = Counter(row.label for row in source.rows)
    found = StrataBound.of(Conditions(strata="label", least=40), source)
    assert found.most(100, 3200, 4) == 100 + sum(min(160, size) for size in sizes.values())
    assert found.most(3000, 3200, 4) == 3200
    assert StrataBound.of(Conditions(), source).most(100, 3200, 4) == 100


def test_without_a_list_classes_are_known_and_columns_are_not():
    plain = tiny.source(500)
    label = StrataBound.of(Conditions(strata="label", least=5), plain)
    assert label.most(20, 500, 2) == 20 + 3 * 2 * 5
    assert StrataBound.of(Conditions(strata="site"), plain).most(20, 500, 2) == 500
    assert StrataBound.of(Conditions(strata="colour"), listed()).most(20, 900, 2) == 900


def test_other_classes_are_those_of_the_model_and_groups_stay():
    source = under_classes(listed(900), ("owl", "hen", "dog", "cat", "emu"), "model")
    assert StrataBound.of(Conditions(strata="label", least=2), source).most(1, 900, 1) == 1 + 5 * 2
    assert StrataBound.of(Conditions(strata="group", least=2), source).most(1, 900, 1) == 1 + 129 * 2


def test_a_split_of_the_users_own_says_how_many_rows_may_be_attacked():
    assert listed_test_rows(tiny.source()) is None
    assert listed_test_rows(listed(900)) is None
    assert listed_test_rows(listed(900, splits=("test", "train"))) is None  # names one held-out part alone
    assert listed_test_rows(listed(900, splits=("test", "val", "test"))) == 600
    assert listed_test_rows(listed(900, splits=("test", "val", None))) == 600
    source = listed(900, splits=("tune", "certify"))
    assert listed_test_rows(source) == 0
    assert Effort.before(source, Plan()).attackable == 900


def test_strata_cost_what_they_may_bring():
    source = listed(3200)
    settings = [f'conditions.use=["{PGD}", "{DARK}"]', "conditions.attacked=100", "conditions.corrupted=200"]
    plain, by_site = (
        resolve(read_plan(None, [*settings, *more]), source)
        for more in ((), ('conditions.strata="site"', "conditions.least=20"))
    )
    sizes = Counter(row.meta["site"] for row in source.rows).values()
    extra = 7 * sum(min(20, size) for size in sizes) + sum(min(80, size) for size in sizes)
    cost = [Effort.before(source, each.plan).of(each.plan, each.conditions) for each in (plain, by_site)]
    assert cost[1] - cost[0] == extra


def test_the_usual_plan_of_a_large_model_counts_them():
    source = listed(3200)
    plain, by_group = (
        resolve(read_plan(None, more), source, multiply_adds=10**9).sizing
        for more in ((), ('conditions.strata="group"',))
    )
    assert by_group.usual > 1.1 * plain.usual


def test_what_is_said_is_the_bound_and_why_it_is_no_number():
    def told(source, *settings):
        setup = resolve(read_plan(None, [f'conditions.use=["{PGD}", "{DARK}"]', *settings]), source)
        return list(Effort.before(source, setup.plan).growths(setup.plan, setup.conditions))

    own = ("conditions.attacked=20", "conditions.corrupted=30", "conditions.least=10")
    sizes = Counter(row.label for row in listed(3200).rows)
    most = 30 + sum(min(40, size) for size in sizes.values())
    assert told(listed(3200), *own[:2]) == []
    attack, corruption = told(listed(3200), *own, 'conditions.strata="label"')
    assert attack.startswith(
        "strata may make a sample larger: `conditions.attacked` asks for 20, and at least 10 of each 'label' in each "
        "split may make it up to 60 of about 1,574 images. How many depends on the content of the images: demur plan "
        "--estimate reads them"
    )
    assert (
        f"`conditions.corrupted` asks for 30, and at least 10 of each 'label' in each split may make it up to {most}"
        in corruption
    )
    (unknown,) = told(tiny.source(800), *own[:1], own[2], 'conditions.strata="site"')
    assert "may make it all of about 292 images" in unknown
    assert "how many values 'site' has is not known before, either" in unknown
    assert told(listed(3200), "conditions.attacked=200", own[2], 'conditions.strata="label"') == []


def test_a_plan_that_is_printed_says_it_and_an_estimate_counts_the_rows_that_were_drawn(tmp_path):
    source, own = tiny.source(900), Conditions(use=("clean", DARK), corrupted=30, strata="label", least=10)
    plan = tiny.plan().model_copy(update={"conditions": own})
    said = []
    given = StandIns(source=source, classifier=tiny.classifier())
    rows = len(prepared_job(plan, given, said.append).rows(resolve(plan, source).conditions[1]))
    assert 60 < rows <= Effort.before(source, plan).corrupted(plan)
    found = {each.name: each for each in estimate(plan, Machines(), said.append, given).stages}
    assert found["corruption"].rows == rows
    assert sum(f"'label' in each split are {rows} of 900 images" in sentence for sentence in said) == 2
    digits = read_plan(None, ['data.address="digits"', 'conditions.use=["low_light(severity=3)"]'])
    few = digits.model_copy(
        update={"conditions": digits.conditions.model_copy(update={"corrupted": 10, "strata": "label"})}
    )
    assert not [note for note in written_out(digits)[1] if "strata" in note]
    assert [note for note in written_out(few)[1] if note.startswith("strata may make a sample larger")]
