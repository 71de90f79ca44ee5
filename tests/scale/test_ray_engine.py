"""Ray measures the bytes of one process on two nodes, whatever is lost; what cannot be used is told in a sentence."""

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

pytest.importorskip("ray")

from demur.classifier import BoundClassifier
from demur.errors import DataError
from demur.files import read_json
from demur.pipeline.run import ray_engine
from demur.pipeline.run.placed_shard import PlacedShard, SharedFolder
from demur.pipeline.run.placing import Placing
from demur.pipeline.run.resources import Resources
from demur.records import read
from tests import every_section, tiny
from tests.scale import chaos, slow_audit
from tests.scale.ray_nodes import Nodes

pytestmark = pytest.mark.filterwarnings("default")  # Ray leaves files and processes to the end of Python


@pytest.fixture(scope="module")
def nodes():
    found = Nodes()
    yield found
    found.end()


@pytest.fixture
def ray(nodes):
    return Resources(engine="ray", address=nodes.address)


@pytest.fixture
def placed(monkeypatch):
    """The names of shards whose files a worker wrote itself."""
    names, write = [], PlacedShard.write

    def noted(shard, run, name):
        names.append(name)
        return write(shard, run, name)

    monkeypatch.setattr(PlacedShard, "write", noted)
    return names


def test_two_nodes_measure_the_bytes_of_one_process(ray, placed, tmp_path):
    one = tiny.hashes(every_section.run(tmp_path / "one"))
    two = every_section.run(tmp_path / "two", resources=ray)
    assert tiny.hashes(two) == one
    assert sorted(placed) == sorted(entry["shard"] for entry in read_json(two / "manifest.json"))
    assert not list(two.rglob(".*")), "files are left under names for now"


def test_who_does_not_see_the_folder_sends_its_rows(ray, placed, tmp_path, monkeypatch):
    one = tiny.hashes(tiny.run(tmp_path / "one"))
    monkeypatch.setattr(ray_engine, "Placing", elsewhere)
    assert tiny.hashes(tiny.run(tmp_path / "two", resources=ray)) == one
    assert placed == []


def elsewhere(job, folder):
    """What is sent to a worker that has another file system."""
    return Placing(job, SharedFolder(path=folder.path / "elsewhere", token=folder.token))


class Deadly(torch.nn.Module):
    """The net of the patterns, which ends the process of a worker that asks it about one image."""

    def __init__(self):
        super().__init__()
        self.net, self.bad = tiny.Net(), tiny.images_and_labels(150)[0][37]

    def forward(self, x):
        if sys.argv[0] == "-c" and any(torch.equal(image, self.bad) for image in x):
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.net(x)


def deadly():
    return BoundClassifier(Deadly().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def test_an_image_that_ends_processes_costs_one_row(ray, tmp_path):
    given = {"conditions": ("clean", "gaussian_noise(severity=1)"), "attacked": 40}
    whole = tiny.run(tmp_path / "ray", tiny.source(150), deadly(), resources=ray, **given)
    rows = read(whole)
    failed = rows.filter(rows["error"].is_not_null())
    assert failed.select("sample_id", "condition", "error").rows() == [
        ("000037", condition, "the process that measured it ended by SIGSEGV")
        for condition in ("clean", "gaussian_noise(severity=1)")  # which begins with the image as it is
    ]


@pytest.mark.parametrize("kind", ["workers", "leader"])
def test_an_audit_that_loses_a_part_ends_as_if_nothing_had_been(kind, nodes, tmp_path):
    whole = tiny.hashes(slow_audit.run(tmp_path / "undisturbed"))
    assert chaos.runs(kind, 1, 0, tmp_path, nodes, whole) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["workers", "leader"])
def test_twenty_audits_end_as_if_nothing_had_been(kind, nodes, tmp_path):
    whole = tiny.hashes(slow_audit.run(tmp_path / "undisturbed"))
    assert chaos.runs(kind, 20, 0, tmp_path, nodes, whole) == 20


@dataclass(frozen=True)
class AbsentSource:
    """Images that cannot be read on whichever node asks first."""

    source: object
    marker: Path

    address = property(lambda self: self.source.address)
    classes = property(lambda self: self.source.classes)
    input_shape = property(lambda self: self.source.input_shape)

    def __len__(self):
        return len(self.source)

    def read(self, positions):
        node = os.environ.get("RAY_RAYLET_PID") if sys.argv[0] == "-c" else None
        if node is not None:
            with contextlib.suppress(FileExistsError), self.marker.open("x") as file:
                file.write(node)
            if self.marker.read_text() == node:
                with self.marker.with_suffix(".vain").open("a") as file:
                    file.write("vain\n")
                raise DataError("no such share")
        return self.source.read(positions)


def test_a_node_that_cannot_read_the_images_costs_no_row_and_little_time(ray, tmp_path):
    source = tiny.source(150)
    given = {"conditions": ("clean", "gaussian_noise(severity=1)"), "attacked": 40}
    whole = tiny.run(tmp_path / "whole", source, tiny.classifier(), **given)
    absent = AbsentSource(source, tmp_path / "marker")
    found = tiny.run(tmp_path / "ray", absent, tiny.classifier(), resources=ray, **given)
    assert tiny.hashes(found) == tiny.hashes(whole)
    vain = (tmp_path / "marker.vain").read_text().count("vain")
    assert 1 <= vain <= 2, "each shard at most once, and the two that there are"
