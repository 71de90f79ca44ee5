"""Models that lie whole in a file of torch: they answer as what was saved, with its gradients, and run no pickle."""

import io
import json
import os
import pickle
import warnings
import zipfile

import pytest
import torch
from torch import nn

from demur.adapters import load_model
from demur.adapters.declarations import declared
from demur.classifier import BoundClassifier
from demur.errors import AddressError, ModelError
from demur.files import read_json
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.loop import run_plan
from tests import tiny

SHAPE = (3, 12, 12)
CLASSES = ("no", "yes", "so-so")


class Net(nn.Module):
    """Two blocks, a pool and a head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.second(self.first(x)).mean(dim=(2, 3)))


class Fixed(nn.Module):
    """A net into whose forward a number of rows is written."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.inner = rows, Net()

    def forward(self, x):
        return self.inner(x.reshape(self.rows, 3, 12, 12))


def seeded(make, *arguments):
    torch.set_rng_state(torch.Generator().manual_seed(3).get_state())
    net = make(*arguments).eval()
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return net


def images(rows=7):
    return torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1))


def traced(net, path, rows=2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, images(rows)).save(str(path))
    return f"torchscript:{path}"


def scripted(net, path, rows=2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(path))
    return f"torchscript:{path}"


def exported(net, path, rows=2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("rows", min=2, max=4096)},) if isinstance(net, Net) and rows > 1 else None
        torch.export.save(torch.export.export(net, (images(rows),), dynamic_shapes=free), path)
    return f"export:{path}"


FORMS = {"traced": traced, "scripted": scripted, "exported": exported}


def load(address, shape=SHAPE):
    return load_model(address, classes=CLASSES, input_shape=shape)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
class TestEveryForm:
    def test_it_answers_as_what_was_saved(self, form, tmp_path):
        net = seeded(Net)
        classifier = load(f"{form(net, tmp_path / 'my.pt2')}?mean=.5,.4,.3&std=.2,.2,.3&name=mine")
        for rows in (1, 2, 7):
            x = images(rows)
            prepared = (x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.2, 0.3]).view(
                1, 3, 1, 1
            )
            torch.testing.assert_close(classifier(x), net(prepared), atol=1e-5, rtol=1e-5)
        assert classifier.name == "mine"
        assert "is run" in classifier.notes[0]

    def test_its_gradients_are_finite_differences(self, form, tmp_path):
        classifier = load(form(seeded(Net), tmp_path / "my.pt2")).double
        x, step = images(2).double(), 1e-6
        found = classifier.loss_gradient(x, lambda logits: logits[:, 1])[1]
        for place in [(0, 0, 3, 4), (1, 2, 7, 11), (1, 1, 0, 0)]:
            up, down = x.clone(), x.clone()
            up[place] += step
            down[place] -= step
            slope = (classifier(up) - classifier(down)).detach()[place[0], 1] / (2 * step)
            assert float(found[place]) == pytest.approx(float(slope), rel=1e-4, abs=1e-7)
        assert not classifier.double_fault

    def test_a_batch_of_one_that_is_fixed_is_asked_image_by_image(self, form, tmp_path):
        net = seeded(Fixed, 1)
        classifier = load(form(net, tmp_path / "my.pt2", rows=1))
        x = images(5)
        torch.testing.assert_close(classifier(x), torch.cat([net(image[None]) for image in x]), atol=1e-5, rtol=1e-5)
        assert "takes one image at a time" in classifier.notes[-1]
        assert classifier.capabilities.gradients
        assert not classifier.layer_names

    def test_a_batch_of_four_that_is_fixed_is_filled_up(self, form, tmp_path):
        net = seeded(Fixed, 4)
        classifier = load(form(net, tmp_path / "my.pt2", rows=4))
        x = images(7)
        torch.testing.assert_close(classifier(x), net.inner(x), atol=1e-5, rtol=1e-5)
        assert "takes 4 images at a time" in classifier.notes[-1]

    def test_its_hash_follows_the_file(self, form, tmp_path):
        address, other = form(seeded(Net), tmp_path / "my.pt2"), form(Net().eval(), tmp_path / "other.pt2")
        assert load(address).sha256 == load(address).sha256
        assert load(address).sha256 != load(other).sha256
        assert load(address).sha256 != load(f"{address}?mean=.1,.1,.1").sha256

    def test_an_at_sign_in_its_path_is_a_letter(self, form, tmp_path):
        (tmp_path / "a@b").mkdir()
        assert load(form(seeded(Net), tmp_path / "a@b" / "my.pt2")).name == "my"

    def test_a_copy_on_a_device_answers_alike(self, form, tmp_path):
        classifier = load(form(seeded(Net), tmp_path / "my.pt2"))
        torch.testing.assert_close(classifier.to("cpu")(images()), classifier(images()))


def test_the_layers_of_an_exported_program_are_those_of_the_model(tmp_path):
    net = seeded(Net)
    classifier = load(exported(net, tmp_path / "my.pt2"))
    own = BoundClassifier(net, classes=CLASSES, input_shape=SHAPE)
    assert classifier.capabilities.layers
    assert {"first", "second", "head"} <= set(classifier.layer_names)
    for name in ("first", "second"):
        found, wanted = (each.activations(images(), [name])[name] for each in (classifier, own))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_program_without_a_number_of_rows_in_it_is_not_looped(tmp_path):
    """Exported with one image, and yet good for any number."""
    net = seeded(Net)
    classifier = load(exported(net, tmp_path / "my.pt2", rows=1))
    torch.testing.assert_close(classifier(images()), net(images()), atol=1e-5, rtol=1e-5)
    assert classifier.capabilities.layers


@pytest.mark.parametrize("rows", [1, 2])
def test_the_shape_of_an_exported_program_is_declared(tmp_path, rows):
    found = declared(exported(seeded(Net), tmp_path / "my.pt2", rows=rows))
    assert (found.input_shape, found.outputs) == (SHAPE, 3)
    assert found.rules.options == {"size": "12", "colour": "rgb"}


def test_a_program_hides_its_layers_in_torchscript(tmp_path):
    found = load(traced(seeded(Net), tmp_path / "my.pt")).capabilities
    assert (found.gradients, found.layers, found.linear_head, found.module) == (True, False, False, True)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_audit_says_what_was_run(form, tmp_path):
    address = form(tiny.Net().eval(), tmp_path / "my.pt2") if form is scripted else None
    if address is None:
        x = tiny.images_and_labels(2)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if form is traced:
                torch.jit.trace(tiny.Net().eval(), x).save(str(tmp_path / "my.pt2"))
            else:
                rows = torch.export.Dim("rows", min=2, max=4096)
                program = torch.export.export(tiny.Net().eval(), (x,), dynamic_shapes=({0: rows},))
                torch.export.save(program, tmp_path / "my.pt2")
        address = f"{'torchscript' if form is traced else 'export'}:{tmp_path / 'my.pt2'}"
    plan = tiny.plan(conditions=("clean", "fgsm(eps=0.1)", "gaussian_noise(severity=3)"), attacked=60)
    plan = Plan.model_validate({**plan.model_dump(), "model": {"address": address}})
    notes = []
    progress = tiny.Quiet()
    progress.say = notes.append
    out = run_plan(plan, tmp_path / "run", progress, tiny.source(200))
    checks = {each["name"]: each for each in read_json(out / "facts" / "preflight.json")}
    assert "is run" in checks["origin of the model"]["sentence"]
    assert any("is run" in note for note in notes)


class Malicious:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def altered(path, change):
    """The archive with each member as `change` makes it of name and content; left out where that is None."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            found = change(entry.filename, source.read(entry))
            if found is not None:
                target.writestr(zipfile.ZipInfo(found[0]), found[1])
    path.write_bytes(content.getvalue())


def with_member(path, name, content):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), content)


def test_sample_inputs_that_are_a_malicious_pickle_are_not_read(tmp_path):
    path = tmp_path / "my.pt2"
    address = exported(seeded(Net), path)
    evil = pickle.dumps(Malicious(tmp_path / "ran"))
    altered(path, lambda name, content: (name, evil if "/sample_inputs/" in name else content))
    assert load(address)(images()).shape == (7, 3)
    assert not (tmp_path / "ran").exists()


def test_a_weight_that_would_be_unpickled_is_refused_and_nothing_ran(tmp_path):
    path = tmp_path / "my.pt2"
    address = exported(seeded(Net), path)
    evil = pickle.dumps(Malicious(tmp_path / "ran"))

    def change(name, content):
        if name.endswith("model_weights_config.json"):
            config = json.loads(content)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return name, json.dumps(config).encode()
        return name, evil if "/weights/weight_0" in name else content

    altered(path, change)
    with pytest.raises(ModelError, match=r"would be unpickled.*a torch of 2\.8 or newer"):
        load(address)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["my/../../evil", "/evil", "my\\..\\evil"])
def test_an_archive_whose_members_leave_it_is_refused(form, tmp_path, name):
    address = form(seeded(Net), tmp_path / "my.pt2")
    with_member(tmp_path / "my.pt2", name, b"x")
    with pytest.raises(ModelError, match=r"would leave the folder.*Nothing of it was read"):
        load(address)


@pytest.mark.parametrize(
    ("content", "address", "error", "words"),
    [
        (None, "torchscript:FILE", AddressError, "no TorchScript program at"),
        (None, "export:FILE", AddressError, "no exported program at"),
        (b"not an archive", "torchscript:FILE", ModelError, "is no TorchScript program"),
        (b"not an archive", "export:FILE", ModelError, "is no archive of an exported program"),
        ({"w": torch.zeros(2)}, "torchscript:FILE", ModelError, "holds no TorchScript code. Weights alone belong"),
        ({"w": torch.zeros(2)}, "export:FILE", ModelError, "would be unpickled"),
        (None, "export:", AddressError, "must name a file"),
    ],
)
def test_what_is_no_program_says_so(tmp_path, content, address, error, words):
    path = tmp_path / "my.pt"
    if isinstance(content, dict):
        torch.save(content, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=words):
        load(address.replace("FILE", str(path)))


def test_code_that_is_damaged_says_so(tmp_path):
    path = tmp_path / "my.pt"
    address = traced(seeded(Net), path)
    altered(path, lambda name, content: (name, b"def nonsense(" if name.endswith(".py") else content))
    with pytest.raises(ModelError, match="cannot be loaded as a TorchScript program"):
        load(address)
