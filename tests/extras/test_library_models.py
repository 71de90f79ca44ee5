"""A model of another library sees the pictures in files as that library shows them, and answers the same."""

import copy

import pytest
import torch
from PIL import Image

import demur
from demur.adapters import load_model, timm_models
from demur.adapters.declarations import declared
from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.pipeline.pairing import open_data_by, open_data_for
from tests.extras.library_models import CLASSES, HF, hf_model, timm_model, torchvision_model
from tests.odd_pictures import ODD, PLAIN, drawn, write_pictures

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries' own making
for library in ("timm", "torchvision", "transformers"):
    pytest.importorskip(library, reason=f"{library} is not installed: make test-extras")

ROUNDING = 1e-6
"""What the fused scaling of the torchvision backend of transformers leaves, in single precision."""

STEP = 1e-9
"""So small that few of a million rectifiers change sides."""

MAKERS = {
    "timm-vit": lambda folder: timm_model("test_vit.r160_in1k", folder),
    "timm-resnet": lambda folder: timm_model("test_resnet.r160_in1k", folder),
    "torchvision-mobilenet": lambda folder: torchvision_model("mobilenet_v3_small", folder),
    "torchvision-swin": lambda folder: torchvision_model("swin_v2_t", folder),
    **{
        f"hf-{kind}-{backend}": lambda folder, kind=kind, backend=backend: hf_model(kind, folder, backend)
        for kind in HF
        for backend in ("pil", "torchvision")
    },
}
EXACT = [name for name in MAKERS if not name.endswith("-torchvision")]
FOLLOWING = "alpha=ignore&exif=ignore"
"""What makes demur read odd pictures as Pillow's plain conversion does."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "only")
    return root


@pytest.fixture(scope="module", params=MAKERS, ids=str)
def pair(request, tmp_path_factory):
    """A model as its library made it, and its address."""
    return request.param, *MAKERS[request.param](tmp_path_factory.mktemp("model"))


def read(address, root, query):
    """The classifier, and the rows of the pictures by name."""
    source = open_data_for(address, f"folder:{root}?{query}" if query else f"folder:{root}")
    classifier = load_model(address, classes=CLASSES, input_shape=source.input_shape)
    rows = {row.sample_id.rpartition("/")[2]: row for row in source.read(range(len(source)))}
    return classifier, rows


def test_the_same_file_gives_the_same_numbers(pair, pictures):
    name, _, address = pair
    transform = declared(address).transform
    classifier, rows = read(address, pictures, FOLLOWING)
    allowed = 0 if name in EXACT or name.startswith(("timm", "torchvision")) else ROUNDING
    compared = 0
    for file in (*PLAIN, *ODD[:-1]):
        if not _readable(transform, pictures / "only" / file):
            continue
        theirs = transform(Image.open(pictures / "only" / file).convert("RGB"))
        assert rows[file].error is None, file
        ours = classifier.prepare(rows[file].image[None])[0]
        assert float((ours - theirs).abs().max()) <= allowed, file
        compared += 1
    assert compared >= len(PLAIN)


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "share"), [(64, 1.0), (64, 0.875), (50, 0.9), (61, 0.965)])
def test_every_data_config_of_timm_is_followed(pictures, mode, interpolation, side, share):
    config = {"crop_mode": mode, "interpolation": interpolation, "crop_pct": share, "input_size": (3, side, side)}
    config |= {"mean": (0.4, 0.5, 0.6), "std": (1.0, 1.0, 1.0)}
    source = open_data_by(timm_models._rules(config), f"folder:{pictures}?{FOLLOWING}")
    for row in source.read(range(len(source))):
        if not row.sample_id.endswith("deep.png"):
            theirs = timm_models._transform(config)(Image.open(pictures / row.sample_id).convert("RGB"))
            assert torch.equal(row.image - torch.tensor(config["mean"]).view(3, 1, 1), theirs), row.sample_id


def test_what_is_read_otherwise_on_purpose_is_so_by_choice(tmp_path):
    write_pictures(tmp_path / "only")
    _, address = torchvision_model("mobilenet_v3_small", tmp_path)
    transform = declared(address).transform
    classifier, rows = read(address, tmp_path, "")
    for file in ODD:
        theirs = transform(Image.open(tmp_path / "only" / file).convert("RGB"))
        assert float((classifier.prepare(rows[file].image[None])[0] - theirs).abs().max()) > 0.1, file


def test_a_picture_over_white_is_that_of_transformers(tmp_path):
    write_pictures(tmp_path / "only")
    _, address = hf_model("clip", tmp_path / "model", "pil")
    transform = declared(address).transform  # this processor converts to RGB itself, over white
    classifier, rows = read(address, tmp_path, "")
    for file in ("alpha.png", "transparent.png"):
        theirs = transform(Image.open(tmp_path / "only" / file))
        assert torch.equal(classifier.prepare(rows[file].image[None])[0], theirs), file


def test_the_answers_are_those_of_the_library(pair, pictures):
    _, module, address = pair
    transform = declared(address).transform
    classifier, rows = read(address, pictures, FOLLOWING)
    files = ["rgb.jpg", "rgb.png", "grey.jpg", "cmyk.jpg", "palette.png"]
    theirs = torch.stack([transform(Image.open(pictures / "only" / file).convert("RGB")) for file in files])
    if type(classifier.as_module()).__name__ == "Flipped":
        theirs = theirs.flip(1)  # what is declared is what the module is given, which turns it
    with torch.no_grad():
        answer = module(theirs)
        own = classifier.logits(torch.stack([rows[file].image for file in files]))
    assert float((own - getattr(answer, "logits", answer)).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", ["timm-vit", "timm-resnet", "torchvision-mobilenet", "hf-vit-pil", "hf-mobilevit-pil"])
def test_gradients_are_finite_differences(name, tmp_path):
    _, address = MAKERS[name](tmp_path)
    classifier = load_model(address, classes=CLASSES, input_shape=declared(address).input_shape)
    x = torch.rand(2, *classifier.input_shape)  # a picture with flat parts has ties, which have no slope
    contract = classifier.contract
    double = BoundClassifier(
        copy.deepcopy(classifier.as_module()).double(),
        classes=CLASSES, input_shape=classifier.input_shape, mean=contract.mean, std=contract.std,
    )  # fmt: skip
    x, direction = x.double().requires_grad_(), torch.randn(x.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(double.logits(x)[:, 0].sum(), x)
    with torch.no_grad():
        ends = [double.logits(x + sign * STEP * direction)[:, 0].sum() for sign in (1, -1)]
    slope = float((ends[0] - ends[1]) / (2 * STEP))
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-7)
    single = x.detach().float().requires_grad_()
    (own,) = torch.autograd.grad(classifier.logits(single)[:, 0].sum(), single)
    assert float((own - gradient).norm()) <= 1e-3 * float(gradient.norm())


def test_names_of_classes_come_with_the_model(tmp_path):
    assert declared(hf_model("vit", tmp_path / "hf", "pil")[1]).classes == CLASSES
    assert declared("torchvision:resnet50").classes[:2] == ("tench", "goldfish")
    found = declared("timm:resnet18.a1_in1k")
    assert found.classes[:2] == ("tench", "goldfish")
    assert len(set(found.classes)) == found.outputs == 1000
    assert declared(timm_model("test_vit.r160_in1k", tmp_path)[1]).classes is None  # two of one's own


def test_files_say_how_many_classes_and_channels(tmp_path):
    _, address = timm_model("test_resnet.r160_in1k", tmp_path, in_chans=1)
    assert declared(address).outputs == 2
    assert declared(address).input_shape == (1, 160, 160)
    with pytest.raises(ModelError, match=r"Name it in the address of the model: \?mean="):
        load_model(address, classes=CLASSES, input_shape=(1, 160, 160))
    assert load_model(f"{address}?mean=.5&std=.5", classes=CLASSES, input_shape=(1, 160, 160)).contract.mean == (0.5,)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("timm:resnet18.a1_in2k", "It has resnet18"),
        ("torchvision:resnet5", "Did you mean 'resnet50'"),
        ("torchvision:resnet50?weights=V9", "unknown weights 'V9'"),
        ("torchvision:fcn_resnet50", "unknown image classifier"),
        ("hf:./nothing/here", "there is no folder"),
        ("hf:owner/name@file", "without @"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address, says):
    with pytest.raises(InputError, match=says):
        declared(address)


def test_a_folder_that_keeps_its_weights_in_a_pickle_is_refused(tmp_path):
    module, address = hf_model("vit", tmp_path / "hf", "pil")
    (tmp_path / "hf" / "model.safetensors").unlink()
    torch.save(module.state_dict(), tmp_path / "hf" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(address, classes=CLASSES, input_shape=(3, 96, 96))


@pytest.mark.parametrize("name", ["timm-resnet", "torchvision-mobilenet", "hf-vit-pil", "hf-clip-torchvision"])
def test_an_audit_of_200_images_completes(name, tmp_path):
    for number in range(200):
        place = tmp_path / "data" / CLASSES[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        drawn(60 + number % 40, 50 + number % 61, "RGB", number).save(place)
    _, address = MAKERS[name](tmp_path)
    plan = {"conditions.use": ["clean", "fgsm(eps=1/255)"], "conditions.attacked": 10, "signals.use": ["msp"]}
    plan |= {"model.trust_labels": True}
    results = demur.audit(address, f"folder:{tmp_path / 'data'}", plan=plan, out=tmp_path / "run", workers=1)
    assert results.provenance.preprocessing[-1].endswith("all pixels are the same")
    assert "interpolation=" in results.provenance.data
    assert "Preprocessing" in (tmp_path / "run" / "report.html").read_text("utf-8")


def _readable(transform, path):
    try:
        transform(Image.open(path).convert("RGB"))
    except (RuntimeError, ValueError):  # torch scales no line of a single pixel
        return False
    return True
