"""The Python a PyTorch user expects: modules, tensors, loaders in; results, attacks, scores and certificates out."""

import json
import webbrowser

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import demur
from demur.cli import main
from demur.errors import DataError, ForeignError, ModelError, RunError
from demur.records import read
from tests import tiny

PLAN = {"conditions.use": ["clean", "pgd(eps=0.1, steps=3)", "gaussian_noise(severity=3)"]}
CLASSES = 3


@pytest.fixture(scope="module")
def images():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(240) % CLASSES
    return torch.rand(240, 1, 8, 8, generator=draw) * 0.5 + 0.25 * y[:, None, None, None], y


@pytest.fixture(scope="module")
def net(images):
    x, y = images
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimiser.step()
    return module.eval()


class Once(IterableDataset):
    """Rows that come a single time, as from a socket."""

    def __init__(self, x, y):
        self.rows = zip(x, y, strict=True)

    def __iter__(self):
        return self.rows


def audited(model, data, out, **changes):
    return demur.audit(model, data, out=out, risk=0.2, plan=PLAN | changes)


@pytest.fixture(scope="module")
def results(net, images, tmp_path_factory):
    return audited(net, images, tmp_path_factory.mktemp("api") / "pair")


def test_every_shape_of_model_and_data_is_the_same_audit(net, images, results, tmp_path):
    x, y = images
    described = demur.Classifier(net, classes=[str(k) for k in range(CLASSES)], input_shape=(1, 8, 8))
    for number, (model, data) in enumerate(
        [
            (described, (x.numpy(), y.numpy())),
            (net, TensorDataset(x, y)),
            (demur.Classifier(net), DataLoader(Once(x, y), batch_size=7)),
            (described, demur.from_tensors(x, y, classes=[str(k) for k in range(CLASSES)])),
        ]
    ):
        found = audited(model, data, tmp_path / str(number))
        assert_frame_equal(read(found.folder), read(results.folder))
        assert found.state == results.state


class Augmented(torch.utils.data.Dataset):
    """Images that are another one each time, as those of a training set."""

    def __init__(self, images):
        self.images, self.labels = images

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return (self.images[at] + 0.01 * torch.rand(())).clamp(0, 1), int(self.labels[at])


def test_a_data_set_that_augments_is_told_and_not_measured(net, images, tmp_path):
    with pytest.raises(DataError, match="changes images at random, as to augment them, cannot be audited"):
        audited(net, Augmented(images), tmp_path / "run")
    assert not [*(tmp_path / "run" / "records").glob("*")]


def test_results_know_their_folder_and_open_their_report(results, monkeypatch):
    shown = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert results.open() == results.folder / "report.html"
    assert shown == [(results.folder / "report.html").resolve().as_uri()]
    with pytest.raises(RunError, match=r"no report.html to open. Run demur.audit"):
        demur.Results.model_validate_json((results.folder / "results.json").read_text()).open()


def test_the_block_of_the_readme_on_a_network_of_ones_own(net, images):
    x, y = images
    model = demur.Classifier(net)
    adversarial = demur.PGD(eps=8 / 255)(model, x, y)
    assert len(adversarial.images) == len(adversarial.success) == len(adversarial.distance) == len(adversarial.passes)
    assert adversarial.distance.max() <= 8 / 255 + 1e-6
    evidence = demur.Evidence(model, x)
    scores = demur.Energy()(evidence)
    torch.testing.assert_close(scores, -model(x).double().logsumexp(1), atol=1e-5, rtol=1e-5)
    certificate = demur.certify(scores, model(x).argmax(1) != y, risk=0.3)
    assert "answer" in certificate.sentence


def test_draws_follow_the_images_and_the_seed(net, images):
    x, y = images
    attack = demur.Noise(eps=0.3, steps=2)
    one, again, shuffled = attack(net, x, y), attack(net, x, y), attack(net, x.flip(0), y.flip(0), batch=7)
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.images, shuffled.images.flip(0))
    assert not torch.equal(one.images, attack(net, x, y, seed=1).images)


@pytest.mark.slow
def test_addresses_from_python_and_the_command_line_give_the_same_bytes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text('[data]\nlimit = 60\n[conditions]\nuse = ["clean", "pgd(eps=0.05, steps=2)"]\n')
    python = demur.audit("fashion", "fashion", out="python", plan="plan.toml")
    monkeypatch.setattr("sys.argv", ["demur", "audit", "fashion", "fashion", "--plan", "plan.toml", "--out", "line"])
    with pytest.raises(SystemExit):
        main()
    capsys.readouterr()
    one, other = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("python", "line"))
    assert one == other
    source = demur.open_data("fashion")
    model = demur.load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    objects = demur.audit(model, source, out="objects", plan="plan.toml")
    assert_frame_equal(read(objects.folder), read(python.folder))


@pytest.mark.parametrize("model", [3, np.zeros(3), pl.DataFrame()])
def test_what_is_no_model_is_refused(model, images):
    with pytest.raises(ModelError, match=r"the model is a torch.nn.Module, a demur.Classifier or an address"):
        demur.audit(model, images)


def test_no_images_are_refused_and_no_others_take_their_place(net, images):
    with pytest.raises(DataError, match="data has no readable image"):
        demur.audit(net, [part[:0] for part in images])


class Leaving(tiny.Net):
    def forward(self, x):
        raise SystemExit(0)


def test_code_that_ends_the_process_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ForeignError, match=r"SystemExit: 0 \(.*test_api\.py:\d+, in forward\)"):
        demur.audit(Leaving().eval(), tiny.images_and_labels(60), out=tmp_path / "run")
