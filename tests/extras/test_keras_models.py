"""Models that Keras itself saved: the same answers from files on disk, gradients, layers, and what is refused."""

import copy
import json
import pickle
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demur
from demur.adapters import load_model
from demur.adapters.declarations import declared
from demur.attribution.grad_cam import GradCAM
from demur.attribution.weight_randomisation import with_random_weights
from demur.errors import ModelError
from demur.pipeline.pairing import open_data_for
from demur.randomness import Keys

if find_spec("keras") is None:
    pytest.skip("keras is not installed: make test-extras", allow_module_level=True)

from demur.adapters.keras_models import keras_on_torch

keras = keras_on_torch()
layers = keras.layers

CLASSES = ("blue", "green", "red")
SHAPE = (3, 16, 16)
ROWS = 240
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def pictures(rows=ROWS):
    """8-bit pictures (rows, 16, 16, 3), a little brighter in the channel of the class, and labels."""
    draw = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    values = draw.uniform(0, 190, (rows, 16, 16, 3))
    values[np.arange(rows), :, :, 2 - labels] += draw.uniform(10, 60, rows)[:, None, None]
    return values.round().astype(np.uint8), labels


def body(end=("softmax",), scaled=True, units=3, rounding=True):
    first = [layers.Rescaling(1 / 255)] if scaled else []
    return keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            *first,
            layers.Conv2D(6, 3, activation="relu"),
            *([layers.BatchNormalization(momentum=0.8)] if rounding else []),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D() if rounding else layers.Flatten(),
            layers.Dropout(0.25),
            *_ends(end, units),
        ]
    )


def _ends(end, units):
    match end:
        case ("activation",):
            return [layers.Dense(units), layers.Activation("softmax")]
        case ("softmax layer",):
            return [layers.Dense(units), layers.Softmax()]
        case ("nested",):
            return [keras.Sequential([layers.Input((8,)), layers.Dense(units, activation="softmax")])]
        case _:
            return [layers.Dense(units, activation=end[0])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in a folder for each class, and a model that Keras trained on their pixels of 0–255."""
    place = tmp_path_factory.mktemp("keras")
    values, labels = pictures()
    for name in CLASSES:
        (place / "test" / name).mkdir(parents=True)
    for row, (pixels, label) in enumerate(zip(values, labels, strict=True)):
        Image.fromarray(pixels).save(place / "test" / CLASSES[label] / f"{row:04d}.png")
    keras.utils.set_random_seed(0)
    model = body(scaled=False)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(values.astype("float32"), labels, epochs=12, batch_size=32, verbose=0)
    model.save(place / "model.keras")
    model.save(place / "model.h5")
    return place, model


def test_an_audit_measures_the_accuracy_that_keras_reports_and_fgsm_lowers_it(folder, tmp_path):
    place, model = folder
    values, labels = pictures()
    own = model.evaluate(values.astype("float32"), labels, verbose=0)[1]
    assert own > 0.6
    results = demur.audit(
        f"keras:{place / 'model.keras'}?scale=255",
        f"folder:{place / 'test'}",
        out=tmp_path / "run",
        plan={"conditions.use": ["clean", "fgsm(eps=2/255)"], "conditions.attacked": 200},
    )
    clean, attacked = (row.accuracy.value for row in results.conditions)
    assert clean == pytest.approx(own, abs=1e-6)
    assert attacked < clean - 0.05
    assert "pixels of 0–255, as the address says" in (tmp_path / "run/report.html").read_text()


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_from_files_on_disk_its_logits_are_those_of_keras(folder, file):
    place, model = folder
    address = f"keras:{place / file}?scale=255"
    source = open_data_for(address, f"folder:{place / 'test'}")
    rows = list(source.read(range(40)))
    classifier = load_model(address, classes=source.classes, input_shape=source.input_shape)
    files = sorted((place / "test").glob("*/*.png"))[:40]
    given = np.stack([keras.utils.img_to_array(keras.utils.load_img(each, target_size=(16, 16))) for each in files])
    with torch.no_grad():
        found = classifier.logits(torch.stack([row.image for row in rows])).log_softmax(dim=1)
    own = np.log(model.predict(given, verbose=0))
    np.testing.assert_allclose(found.numpy(), own, atol=1e-5)


def test_odd_files_become_the_tensors_that_keras_makes_of_them(folder, tmp_path):
    """To the bit with load_img; what image_dataset_from_directory calls rounds nothing, which 8 bits do."""
    place, _ = folder
    draw = np.random.default_rng(1)
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "b").mkdir()
    for number in range(20):
        high, wide = draw.integers(9, 70, 2)
        mode = ("RGB", "L", "RGBA", "P")[number % 4]
        coarse = draw.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((int(wide), int(high))).convert(mode)
        jpeg = mode in {"RGB", "L"} and number % 8 < 4
        picture.save(tmp_path / "set" / "ab"[number % 2] / f"{number:02d}.{'jpg' if jpeg else 'png'}")
    files = sorted((tmp_path / "set").glob("*/*"))
    address, data = f"keras:{place / 'model.keras'}?scale=255", f"folder:{tmp_path / 'set'}?colour=rgb&alpha=ignore"
    nearest = open_data_for(address, f"{data}&interpolation=nearest")
    own = [keras.utils.img_to_array(keras.utils.load_img(each, target_size=(16, 16))) for each in files]
    for row, image in zip(nearest.read(range(20)), own, strict=True):
        torch.testing.assert_close(row.image, torch.from_numpy(image).permute(2, 0, 1) / 255, rtol=0, atol=0)
    for row, each in zip(open_data_for(address, data).read(range(20)), files, strict=True):
        whole = keras.utils.img_to_array(keras.utils.load_img(each))
        image = keras.ops.image.resize(whole, (16, 16), interpolation="bilinear", antialias=False)
        values = torch.as_tensor(image).permute(2, 0, 1) / 255
        torch.testing.assert_close(row.image, values, rtol=0, atol=1 / 255 + 1e-6)


def test_gradients_equal_finite_differences(tmp_path):
    keras.utils.set_random_seed(3)
    body(rounding=False).save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}", classes=CLASSES, input_shape=SHAPE).double
    x = torch.from_numpy(pictures(4)[0]).permute(0, 3, 1, 2).double() / 255
    _, gradient = classifier.loss_gradient(x, lambda logits: logits[:, 1])
    way = torch.from_numpy(np.random.default_rng(0).normal(size=x.shape))
    with torch.no_grad():
        ahead, behind = (classifier.logits(x + step * way)[:, 1] for step in (1e-6, -1e-6))
    slopes = (ahead - behind) / 2e-6
    assert slopes.abs().max() > 0.01
    torch.testing.assert_close((gradient * way).flatten(1).sum(dim=1), slopes, rtol=1e-5, atol=1e-6)


def test_layers_put_out_what_they_do_in_keras_channels_first(folder):
    place, model = folder
    classifier = load_model(f"keras:{place / 'model.keras'}?scale=255", classes=CLASSES, input_shape=SHAPE)
    values = pictures(6)[0].astype("float32")
    x = torch.from_numpy(values).permute(0, 3, 1, 2) / 255
    conv = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    name = f"layers.{conv.name}"
    assert name in classifier.layer_names
    own = keras.Model(model.inputs, conv.output).predict(values, verbose=0)
    maps = classifier.activations(x, [name])[name].detach()
    torch.testing.assert_close(maps, torch.from_numpy(own).permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)
    pooled = next(layer for layer in model.layers if isinstance(layer, layers.GlobalAveragePooling2D))
    own = keras.Model(model.inputs, pooled.output).predict(values, verbose=0)
    torch.testing.assert_close(classifier.features(x).detach(), torch.from_numpy(own), rtol=1e-4, atol=1e-4)
    assert asdict_true(classifier)
    y, keys = torch.zeros(6, dtype=torch.long), Keys.of(0, list("abcdef"), "")
    heat = GradCAM()(classifier, x, y, keys)
    assert heat.shape == (6, 6, 6), "the grid of the last convolution"
    random = GradCAM()(with_random_weights(classifier), x, y, keys)
    assert random.isfinite().all()
    assert not torch.equal(heat, random)


def asdict_true(classifier):
    found = classifier.capabilities
    return found.gradients and found.layers and found.linear_head and found.module and found.deterministic


@pytest.mark.parametrize(
    ("end", "words", "headed"),
    [
        (("softmax",), "the softmax at its end is left out", True),
        (("activation",), "the softmax at its end is left out", True),
        (("softmax layer",), "the softmax at its end is left out", True),
        (("nested",), "the softmax at its end is left out", False),
        (("linear",), "its last layer is linear", True),
        (("sigmoid",), "the sigmoid at its end is left out", True),
        (("shares",), "its answers are taken as they are", False),
    ],
)
def test_every_end_keeps_the_answers(end, words, headed, tmp_path):
    keras.utils.set_random_seed(1)
    model = body(("softplus",) if end == ("shares",) else end)
    if end == ("shares",):
        model = keras.Model(model.inputs, model.outputs[0] / keras.ops.sum(model.outputs[0], axis=1, keepdims=True))
    model.save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}", classes=CLASSES, input_shape=SHAPE)
    values = pictures(8)[0].astype("float32")
    with torch.no_grad():
        logits = classifier.logits(torch.from_numpy(values).permute(0, 3, 1, 2) / 255).numpy()
    own = model.predict(values, verbose=0)
    back = {"linear": logits, "sigmoid": 1 / (1 + np.exp(-logits))}.get(
        end[0], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    )
    np.testing.assert_allclose(back, own, atol=1e-5)
    assert words in classifier.notes[0]
    assert classifier.capabilities.linear_head is headed
    assert classifier.capabilities.gradients


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_one_unit_speaks_for_the_second_of_two_classes(activation, tmp_path):
    keras.utils.set_random_seed(2)
    model = body((activation,), units=1)
    model.save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}", classes=("no", "yes"), input_shape=SHAPE)
    values = pictures(8)[0].astype("float32")
    with torch.no_grad():
        z = classifier.logits(torch.from_numpy(values).permute(0, 3, 1, 2) / 255)
    own = torch.from_numpy(model.predict(values, verbose=0))[:, 0]
    torch.testing.assert_close(z[:, 1].sigmoid() if activation == "sigmoid" else z[:, 1], own, rtol=0, atol=1e-5)
    assert torch.all(z[:, 0] == 0)


@pytest.mark.parametrize(
    ("first", "scale"),
    [
        ([layers.Rescaling(1 / 127.5, offset=-1)], 255),
        ([layers.Rescaling(2.0, offset=-1)], 1),
        ([layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[3000.0] * 3)], 255),
        ([layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3)], 1),
    ],
)
def test_the_scale_of_pixels_is_found(first, scale, tmp_path):
    model = keras.Sequential([layers.Input((16, 16, 3)), *first, layers.Flatten(), layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}", classes=CLASSES, input_shape=SHAPE)
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    own = torch.from_numpy(model.predict(x.permute(0, 2, 3, 1).numpy() * scale, verbose=0))
    torch.testing.assert_close(classifier.logits(x).detach(), own, rtol=1e-4, atol=1e-4)
    assert f"pixels of 0–{scale}, found by its layer" in declared(f"keras:{tmp_path / 'm.keras'}").words[0]


def test_a_scale_that_nothing_says_is_not_assumed(folder):
    place, model = folder
    with pytest.raises(ModelError, match=r"nothing says what scale of pixels.*\?scale=255.*\?scale=1"):
        load_model(f"keras:{place / 'model.keras'}", classes=CLASSES, input_shape=SHAPE)
    x = torch.from_numpy(pictures(5)[0]).permute(0, 3, 1, 2) / 255
    query = "mean=0.5,0.4,0.3&std=0.01,0.01,0.01"
    classifier = load_model(f"keras:{place / 'model.keras'}?{query}", classes=CLASSES, input_shape=SHAPE)
    given = ((x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.01).permute(0, 2, 3, 1).numpy()
    own = torch.from_numpy(model.predict(given, verbose=0))
    torch.testing.assert_close(classifier.logits(x).detach().softmax(dim=1), own, rtol=0, atol=1e-4)


def test_copies_answer_alike_and_the_hash_is_of_the_file(folder):
    place, _ = folder
    address = f"keras:{place / 'model.keras'}?scale=255"
    classifier = load_model(address, classes=CLASSES, input_shape=SHAPE)
    x = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    z = classifier.logits(x).detach()
    for other in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier)), classifier.to("cpu")):
        torch.testing.assert_close(other.logits(x).detach(), z, rtol=0, atol=0)
        assert other.sha256 == classifier.sha256
    again = load_model(address, classes=CLASSES, input_shape=SHAPE)
    assert again.sha256 == classifier.sha256
    assert load_model(f"{address[:-3]}254", classes=CLASSES, input_shape=SHAPE).sha256 != classifier.sha256
    changed = classifier.altered(lambda module: [p.data.mul_(2) for p in module.parameters()], "twice")
    assert not torch.equal(changed.logits(x), z)
    torch.testing.assert_close(classifier.logits(x).detach(), z, rtol=0, atol=0)


@pytest.mark.parametrize("rounding", [False, True])
def test_double_precision_is_double_or_is_refused(rounding, tmp_path):
    """Batch normalisation and means of Keras round to single precision, whatever they are given."""
    body(rounding=rounding).save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}", classes=CLASSES, input_shape=SHAPE)
    if rounding:
        assert classifier.double is classifier
        assert "rounds to single precision in its layer batch_normalization" in classifier.double_fault
        return
    assert not classifier.double_fault
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        ahead, here = (classifier.double.logits(x + step) for step in (1e-11, 0))
        torch.testing.assert_close(here.float(), classifier.logits(x.float()), rtol=1e-4, atol=1e-5)
    assert 1e-13 < float((ahead - here).abs().max()) < 1e-8


def test_dropout_of_keras_drops_only_when_it_is_told_to(folder):
    place, _ = folder
    classifier = load_model(f"keras:{place / 'model.keras'}?scale=255", classes=CLASSES, input_shape=SHAPE)
    x = torch.from_numpy(pictures(4)[0]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        z = classifier.logits(x)
        with classifier.dropping(torch.arange(4), 1):
            dropped = classifier.logits(x)
        assert not torch.equal(z, dropped)
        assert torch.equal(classifier.logits(x), z)


def test_batch_normalisation_does_not_drift(folder):
    place, _ = folder
    classifier = load_model(f"keras:{place / 'model.keras'}?scale=255", classes=CLASSES, input_shape=SHAPE)
    before = classifier.sha256
    classifier.logits(torch.rand(64, *SHAPE))
    classifier.loss_gradient(torch.rand(64, *SHAPE), lambda z: z[:, 0])
    assert classifier.sha256 == before


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_a_lambda_is_refused_before_it_runs(file, tmp_path):
    ran = tmp_path / "ran"
    code = layers.Lambda(lambda x, place=str(ran): (Path(place).touch(), x)[1], output_shape=(16, 16, 3))
    model = keras.Sequential([layers.Input((16, 16, 3)), code, layers.Flatten(), layers.Dense(3)])
    model.save(tmp_path / file)
    ran.unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"Lambda layer, whose code lies in the file.*such as Rescaling"):
        load_model(f"keras:{tmp_path / file}?scale=1", classes=CLASSES, input_shape=SHAPE)
    assert not ran.exists()


def test_a_file_of_an_older_keras_that_cannot_be_read_says_how_to_convert_it(folder, tmp_path):
    import h5py

    place, _ = folder
    path = tmp_path / "old.h5"
    path.write_bytes((place / "model.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["class_name"] = "CuDNNLSTM"
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.3.1"
    with pytest.raises(ModelError, match=r"saved by Keras 2\.3\.1, and Keras 3 cannot read it.*model_from_json"):
        load_model(f"keras:{path}?scale=1", classes=CLASSES, input_shape=SHAPE)


def test_weights_alone_and_another_shape_are_refused(folder, tmp_path):
    _, model = folder
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ModelError, match="weights and no layers"):
        load_model(f"keras:{tmp_path / 'm.weights.h5'}?scale=1", classes=CLASSES, input_shape=SHAPE)
    flat = keras.Sequential([layers.Input((48,)), layers.Dense(3)])
    flat.save(tmp_path / "flat.keras")
    with pytest.raises(ModelError, match=r"one input of images.*shape \(None, 48\)"):
        load_model(f"keras:{tmp_path / 'flat.keras'}?scale=1", classes=CLASSES, input_shape=SHAPE)


def test_an_archive_that_leaves_its_folder_is_refused(folder, tmp_path):
    place, _ = folder
    path = tmp_path / "out.keras"
    path.write_bytes((place / "model.keras").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside.txt", "here")
    with pytest.raises(ModelError, match="would leave the folder"):
        load_model(f"keras:{path}?scale=255", classes=CLASSES, input_shape=SHAPE)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_channels_first_models_are_read_as_they_are(tmp_path):
    inputs = keras.Input((3, 16, 16))
    maps = layers.Conv2D(4, 3, data_format="channels_first", activation="relu", name="maps")(inputs)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(maps)))
    model.save(tmp_path / "m.keras")
    classifier = load_model(f"keras:{tmp_path / 'm.keras'}?scale=1", classes=CLASSES, input_shape=SHAPE)
    x = torch.rand(3, *SHAPE)
    own = torch.from_numpy(model.predict(x.numpy(), verbose=0)).log()
    torch.testing.assert_close(classifier.logits(x).detach().log_softmax(dim=1), own, rtol=1e-4, atol=1e-4)
    assert classifier.activations(x, ["layers.maps"])["layers.maps"].shape == (3, 4, 14, 14)
    assert declared(f"keras:{tmp_path / 'm.keras'}?scale=1").input_shape == SHAPE
