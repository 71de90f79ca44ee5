"""Whatever is wrong with what was given: one clear paragraph on stderr, status 2, no traceback, nothing measured."""

import pytest
import torch
from safetensors.torch import save_file
from tests import tiny
from tests.cli.conftest import QUICK, ROWS, refused, write_parquet


def test_probabilities_for_logits(demur, factory, data):
    said = demur("audit", factory("return nn.Sequential(Net(), nn.Softmax(dim=1))"), data, *QUICK)
    refused(said, "logits were declared", "these are probabilities", "Declare output='probabilities'")


def test_probabilities_declared_as_such_are_measured(demur, factory, data):
    address = factory("return nn.Sequential(Net(), nn.Softmax(dim=1))")
    assert demur("audit", f"{address}?output=probabilities", data, *QUICK).status in {0, 1}


def test_bytes_for_pixels():
    from demur.errors import DataError

    images, labels = tiny.images_and_labels(60)
    from demur.data import build_index, from_tensors

    with pytest.raises(DataError, match="divide by 255"):
        build_index(from_tensors(images * 255, labels, classes=tiny.CLASSES))
    with pytest.raises(DataError, match="divided by 255"):
        tiny.classifier().check(images * 255)
    with pytest.raises(DataError, match="divide by 255"):
        from_tensors((images * 255).short(), labels, classes=tiny.CLASSES)
    row = next(iter(from_tensors((images * 255).round().byte(), labels, classes=tiny.CLASSES).read([0])))
    assert float((row.image - images[0]).abs().max()) <= 0.5 / 255 + 1e-6


def test_weights_that_are_not_numbers(demur, good, data, tmp_path):
    state = tiny.Net().state_dict()
    state["compare.bias"][1] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    said = demur("audit", f"{good}@w.safetensors", data, *QUICK)
    refused(said, "weights must be finite", "'compare.bias' has 1 NaN", "use an earlier checkpoint")


def test_one_class(demur, good, tmp_path):
    said = demur("audit", good, write_parquet(tmp_path / "one.parquet", [1] * ROWS), *QUICK)
    refused(said, f"all {ROWS} images", "of one class, 'bar'", "at least two")


def test_wrong_channels(demur, factory, data):
    said = demur("audit", factory("return nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())"), data, *QUICK)
    refused(said, "must read images of shape (1, 8, 8)", "Check channels and size")
    address = factory("return nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())")
    said = demur("audit", f"{address}?channels=3", data, *QUICK)
    refused(said, "(3, 8, 8)", "(1, 8, 8)")


def test_a_net_that_goes_back_to_training_mode(demur, factory, data):
    imports = "class Careless(Net):\n    def forward(self, x):\n        self.train()\n        return super().forward(x)"
    said = demur("audit", factory("return Careless()", imports), data, *QUICK)
    refused(said, "every layer must be in evaluation mode", "Call model.eval() first")


def test_shuffled_labels(demur, good, tmp_path):
    _, labels = tiny.images_and_labels(ROWS)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    address = write_parquet(tmp_path / "shuffled.parquet", labels[order].tolist())
    refused(demur("audit", good, address, *QUICK), "better than guessing", "shuffled", "model.trust_labels=true")
    assert demur("audit", good, address, *QUICK, "--set", "model.trust_labels=true").status == 1


def test_swapped_class_names(demur, good, data):
    swapped = data.replace("disc,bar,cross", "bar,disc,cross")
    said = demur("audit", f"{good}?classes=disc,bar,cross", swapped, *QUICK)
    refused(said, "better than guessing", "order the classes differently", "what it calls 'disc' is labelled 'bar'")


def test_classes_in_another_number(demur, good, data):
    refused(demur("audit", good, f"{data},other", *QUICK), "3 output(s) per image for 4 classes")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("conditoins.use=1", "unknown plan key 'conditoins'. Did you mean 'conditions'?"),
        ("data.limt=100", "unknown plan key in [data] 'limt'. Did you mean 'limit'?"),
        ('signals.use=["mps"]', "unknown signal 'mps'. Did you mean 'msp'?"),
        ('conditions.use=["pdg(eps=0.1)"]', "unknown condition 'pdg'. Did you mean 'pgd'?"),
        ('conditions.use=["pgd(epsilon=0.1)"]', "unknown field 'epsilon'. Did you mean 'eps'?"),
        ('conditions.use=["pgd"]', "needs a value for `eps`"),
        ('conditions.use=["pgd(eps=8)"]', "Did you mean 8/255?"),
        ('policies.use=["certified(risk=2)"]', "risk"),
    ],
)
def test_an_unknown_or_impossible_plan(demur, good, data, setting, words):
    refused(demur("audit", good, data, "--set", setting), words)


def test_an_unknown_key_in_a_plan_file(demur, tmp_path):
    (tmp_path / "plan.toml").write_text("[model]\nadress = 'x'\n")
    refused(demur("plan", "--plan", "plan.toml"), "unknown plan key in [model] 'adress'", "Did you mean 'address'?")


def test_an_output_that_cannot_be_written(demur, good, data, tmp_path):
    (tmp_path / "file").touch()
    said = demur("audit", good, data, *QUICK, "--out", "file/run")
    refused(said, "cannot write the folder file/run: Not a directory", "--out DIR")


def test_a_pickle(demur, good, data, tmp_path):
    torch.save(tiny.Net(), tmp_path / "w.pt")
    said = demur("audit", f"{good}@w.pt", data, *QUICK)
    refused(said, "w.pt is a pickle that holds more than tensors", "Nothing of it was run", "save_file")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit", "fashoin"), "Did you mean 'fashion'?"),
        (("audit", "zoo:resnet21@w", "digits"), "unknown architecture 'resnet21'"),
        (("audit", "zoo:resnet20", "digits"), "untrained"),
        (("audit", "module:nothing.here:net", "digits"), "cannot import 'nothing.here'"),
        (("audit", "fashion", "parquet:none.parquet"), "there is no file none.parquet"),
        (("audit", "fashion", "digits"), "(1, 28, 28)"),
        (("plan", "--set", "limit"), "--set takes KEY=VALUE"),
        (("plan", "--plan", "none.toml"), "cannot read the plan none.toml"),
        (("list", "signals"), "unknown kind 'signals'. Did you mean 'signal'?"),
        (("report", "nowhere"), "nowhere"),
    ],
)
def test_what_leads_nowhere(demur, arguments, words):
    refused(demur(*arguments), words)


@pytest.mark.parametrize("arguments", [("audti",), ("audit", "--limt", "3"), ("audit", "--limit", "many"), ("report",)])
def test_usage_errors_are_status_two(demur, arguments):
    said = demur(*arguments)
    assert said.status == 2
    assert "Traceback" not in said.err
    assert said.out == ""


def test_an_unfinished_run_has_no_report(demur, good, data, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.name != "clean")
        demur("audit", good, data, "--out", "run", "--set", 'conditions.use=["clean", "low_light(severity=2)"]')
    refused(demur("report", "run"), "is not finished", "low_light(severity=2) has 0 of 400 rows")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--risk", "nan"), ("the risk must be a share strictly between 0 and 1; got nan", "0.02")),
        (("--risk", "5"), ("got 5",)),
        (("--set", 'policies.use=["rule(confidence=7)"]'), ("confidence",)),
        (("--set", 'conditions.use=["fgsm(eps=8)"]'), ("eps",)),
        (("--set", "data.positive=8"), ('Write data.positive="8"',)),
    ],
)
def test_what_needs_no_image_is_refused_before_any_is_read(demur, good, data, arguments, words):
    said = demur("audit", good, data, *arguments)
    refused(said, *words)
    assert "reading the images" not in said.err


def test_an_option_of_data_without_a_place(demur):
    assert "address digits: unknown option 'x'" in refused(demur("plan", "fashion", "digits?x=1"))


def test_a_folder_that_is_no_run(demur):
    refused(demur("report", "."), ". is not a run folder")


def test_an_architecture_that_raises_what_it_likes(demur, factory, data):
    address = factory("raise KeyError('depth')")
    refused(demur("audit", address, data, *QUICK), f"{address} is called", "KeyError: 'depth'")


def test_a_module_that_does_not_parse(demur, factory, data):
    address = factory("return Net(")
    refused(demur("audit", address, data, *QUICK), "cannot be imported: SyntaxError")


def test_a_network_that_raises_what_it_likes(demur, factory, data):
    body = "return Odd()"
    odd = "class Odd(Net):\n    def forward(self, x):\n        return {}['blocks']\n"
    refused(demur("audit", factory(body, odd), data, *QUICK), "failed on two of them: 'blocks'")


def test_a_training_keeps_out_of_a_run_folder(demur, good, data):
    assert demur("audit", good, data, *QUICK, "--out", "run").status in {0, 1}
    refused(demur("train", good, data, "--epochs", "1", "--out", "run", "--restart"), "run belongs to an audit")


def test_a_trained_model_loaded_in_python_knows_what_it_learned_from(demur, good, data, tmp_path):
    import demur as package

    assert demur("train", good, data, "--epochs", "1", "--out", "trained").status == 0
    source = package.open_data(data)
    model = package.load_model(
        f"{good}@trained/model.safetensors", classes=source.classes, input_shape=source.input_shape
    )
    lines = (tmp_path / "trained" / "model.manifest").read_text().split()
    assert model.learned_from == model.to("cpu").learned_from == frozenset(lines)
    assert len(lines) > 100
