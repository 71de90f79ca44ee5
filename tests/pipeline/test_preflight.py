"""Which rows are compared: those that take part, and those the user's own split trains on."""

import pytest
from tests.analysis.factory_runs import Modules

from demur.data import build_index
from demur.pipeline.image_similarity import near_duplicate_facts


class Split(Modules):
    """The last 300 images train the model; the first 20 of them are the first 20 tested ones, brighter."""

    def __init__(self):
        super().__init__(rows=600)
        self.images[300:320] = (0.8 * self.images[:20] + 0.1).clamp(0, 1)
        self.labels[300:320] = self.labels[:20]

    def read(self, positions):
        for at, row in zip(positions, super().read(positions), strict=True):
            yield type(row)(row.sample_id, row.image, row.label, split="train" if at >= 300 else "test")


def test_rows_the_split_trains_on_are_compared_though_they_take_no_part():
    source = Split()
    index = build_index(source, held_out=True)
    assert len(index) == 300
    facts = near_duplicate_facts(source, index)
    assert facts["pairs"] == pytest.approx(20, abs=2)
    assert all("train" in pair for pair in facts["between"])
    assert set(facts["between"]) <= {"certify-train", "test-train", "train-tune"}
    assert all(int(other) >= 300 for _, other in facts["examples"])


def test_rows_left_out_by_a_limit_are_not():
    source = Modules(rows=400)
    source.images[200:] = 0.9 * source.images[:200] + 0.02
    index = build_index(source, limit=50)
    kept = {int(sample_id) for sample_id in index.sample_ids}
    for one, other in near_duplicate_facts(source, index)["examples"]:
        assert {int(one), int(other)} <= kept
