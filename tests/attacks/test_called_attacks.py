"""Attacks called on images: what comes back, what is drawn, what is refused; and what each says of itself."""

import pytest
import torch
from tests.attacks.attack_variants import called, variants
from tests.oracles import CLASSES, SHAPE, Plane, images
from torch import nn

import demur.attacks
from demur.attacks import APGD, APGDT, BIM, CW, FGSM, FMN, MIFGSM, PGD, Ensemble, Foolbox, Noise, Ray, Spatial, Square
from demur.attacks.core.adversarial_images import check_call
from demur.attacks.core.attack_state import FLAGS, Trouble
from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.errors import DataError, InputError, ModelError, UnknownNameError
from demur.randomness import Keys
from demur.registry import names, parse, resolve

EPS, ROWS = 0.08, 24


@pytest.fixture(scope="module")
def model():
    return BoundClassifier(Plane().eval(), classes=CLASSES, input_shape=SHAPE)


@pytest.fixture(scope="module")
def rows():
    x, y = images(Plane(), ROWS), torch.zeros(ROWS, dtype=torch.long)
    y[:2] = 1
    return x, y


@pytest.mark.parametrize("attack", [PGD(eps=EPS), FMN(), Ensemble(eps=EPS, preset="quick"), Ray(norm="l2")], ids=repr)
def test_it_is_what_execute_gives_with_keys_of_the_images(attack, model, rows):
    x, y = rows
    found = attack(model, x, y, batch=7)
    same = attack.execute(Objective(model, attack.loss), x, y, Keys.of_images(x, 0, "attack"), batch=7)
    assert torch.equal(found.images, same.x)
    assert torch.equal(found.success, same.fooled)
    assert torch.equal(found.logits, same.logits)
    assert torch.equal(found.passes, same.forwards + same.backwards)
    assert torch.equal(found.distance, same.l2 if attack.norm == "l2" else same.linf)
    assert torch.equal(found.flags, same.troubles)
    assert found.success[:2].all()
    assert torch.all(found.distance[:2] == 0)
    assert torch.equal(found.success, model(found.images).argmax(dim=1) != y)


def test_an_image_draws_the_same_wherever_it_stands(model, rows):
    x, y = rows
    attack, order = PGD(eps=EPS, steps=3), torch.arange(ROWS).flip(0)
    whole, turned = attack(model, x, y, batch=5), attack(model, x[order], y[order], batch=9)
    torch.testing.assert_close(whole.images[order], turned.images, rtol=0, atol=1e-6)
    other, own = attack(model, x, y, seed=1), attack(model, x, y, keys=Keys.of_images(x, 1, "attack"))
    assert not torch.equal(other.images, whole.images)
    assert torch.equal(other.images, own.images)


def test_images_and_labels_go_where_the_model_is(model, rows, monkeypatch):
    monkeypatch.setattr(BoundClassifier, "device", torch.device("meta"))
    _, x, y = check_call(model, *rows, 8)
    assert (x.device.type, y.device.type) == ("meta", "meta")


def test_a_target_is_a_name_a_number_or_one_for_each(model, rows):
    x, y = rows
    named, numbered = PGD(eps=EPS)(model, x, y, target="one"), PGD(eps=EPS)(model, x, y, target=1)
    each = PGD(eps=EPS)(model, x, y, target=torch.ones(ROWS, dtype=torch.long))
    assert torch.equal(named.images, numbered.images)
    assert torch.equal(named.images, each.images)
    assert torch.equal(named.images[:2], x[:2])  # these are of that class, and left alone
    assert not named.success[:2].any()
    assert 0 < int(named.success.sum()) < ROWS - 2


def test_which_point_is_kept_may_be_said(model, rows):
    x, y = rows
    worst = PGD(eps=EPS)(model, x, y, keep="worst")
    torch.testing.assert_close(worst.distance, torch.full((ROWS,), EPS))
    assert torch.all(FMN()(model, x, y).distance[2:] > 0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": lambda x: (255 * x).byte()}, DataError, "255 for 8-bit pixels"),
        ({"x": lambda x: 255 * x}, DataError, "divided by 255"),
        ({"x": lambda x: x[0]}, DataError, "Add the row axis"),
        ({"x": lambda x: x.permute(0, 2, 3, 1)}, DataError, "channels first"),
        ({"x": lambda x: x.half()}, DataError, "images.float"),
        ({"x": lambda x: x.numpy()}, DataError, "numpy.ndarray"),
        ({"x": lambda x: x * torch.nan}, DataError, "finite"),
        ({"y": lambda y: y + 1}, DataError, "from 0 to 1, for 2 classes; found 1 to 2"),
        ({"y": lambda y: y - 1}, DataError, "found -1"),
        ({"y": lambda y: y.float()}, DataError, "y.long"),
        ({"y": lambda y: torch.eye(2)[y]}, DataError, "argmax"),
        ({"y": lambda y: y[:3]}, DataError, r"one for each of 24 images, shape \(24,\); got \(3,\)"),
        ({"y": lambda y: y.tolist()}, DataError, "a list"),
        ({"model": lambda m: "fashion"}, ModelError, r"got str. Write demur.Classifier\(module"),
        ({"target": 7}, DataError, "target: from 0 to 1"),
        ({"target": "frog"}, UnknownNameError, "unknown class 'frog'"),
        ({"keep": "best"}, UnknownNameError, "nearest"),
        ({"keys": Keys.of(0, ["a"], "")}, InputError, "got 1 for 24 images"),
        ({"batch": 0}, InputError, "`batch`"),
    ],
)
def test_what_cannot_be_attacked_is_said_clearly(change, error, words, model, rows):
    given = {"model": model, "x": rows[0], "y": rows[1]}
    change = {name: value(given[name]) if callable(value) else value for name, value in change.items()}
    with pytest.raises(error, match=words):
        PGD(eps=EPS)(**{**given, **change})


class Cut(nn.Module):
    """No gradient leads through it."""

    def __init__(self):
        super().__init__()
        self.inner = Plane()

    def forward(self, x):
        return self.inner(x.detach())


def test_a_model_without_gradients_is_refused_by_what_follows_them(rows):
    module = Cut().eval().requires_grad_(False)
    cut = BoundClassifier(module, classes=CLASSES, input_shape=SHAPE)
    for attack in (PGD(eps=EPS), Ray(), Ensemble(eps=EPS)):
        with pytest.raises(ModelError, match=r"the answers of .* have no gradient"):
            attack(cut, *rows)
    assert Square(eps=EPS, steps=100)(cut, *rows).success.any()
    assert Ray(direction="random")(cut, *rows).success.any()


@pytest.mark.parametrize(
    ("attack", "given", "words"),
    [
        (Ray(), {"target": torch.zeros(ROWS).long()}, "a ray leads away from the label, so it has no `target`"),
        (Ray(), {"keep": "worst"}, "`keep` must be 'nearest'; got 'worst'. Name another attack, such as fgsm"),
        (Ray(), {"eps": torch.ones(ROWS)}, "Ray takes no `eps`"),
        (Ensemble(eps=EPS), {"target": torch.zeros(ROWS).long()}, "so it has no `target`"),
        (Ensemble(eps=EPS), {"keep": "first"}, "`keep` must be 'nearest'"),
        (Ensemble(eps=EPS), {"trace": True}, "Ensemble takes no `trace`"),
        (PGD(eps=EPS), {"weights": torch.ones(ROWS, 1, 4, 4)}, "PGD takes no `weights`"),
        (Foolbox(attack=parse("LinfPGD"), eps=EPS), {"target": torch.zeros(ROWS).long()}, "with the true labels"),
        (Foolbox(attack=parse("LinfPGD"), eps=EPS), {"answers": torch.zeros(ROWS, 2)}, "takes no `answers`"),
    ],
)
def test_execute_refuses_what_an_attack_does_not_take(attack, given, words, model, rows):
    with pytest.raises(InputError, match=words):
        attack.execute(Objective(model, attack.loss), *rows, Keys.of_images(rows[0]), **given)


def test_changes_without_a_norm_have_no_nearest(model, rows):
    with pytest.raises(InputError, match="changes without a norm have no size"):
        Spatial()(model, *rows, keep="nearest")


def test_every_registered_attack_has_its_name_in_the_room():
    for name in names("attack"):
        kind = resolve("attack", name)
        assert getattr(demur.attacks, kind.__name__) is kind
        assert kind.__name__ in dir(demur.attacks)
    with pytest.raises(AttributeError, match="PGDD"):
        demur.attacks.PGDD  # noqa: B018


FACTS = {
    "apgd": (APGD(eps=EPS), {"ball", "many steps"}),
    "apgd_t": (APGDT(eps=EPS), {"ball"}),
    "bim": (BIM(eps=EPS), {"ball", "many steps"}),
    "cw": (CW(), {"minimal"}),
    "ensemble": (Ensemble(eps=EPS), {"ball", "minimal"}),
    "ensemble without a curve": (Ensemble(eps=EPS, curve=False), {"ball"}),
    "fgsm": (FGSM(eps=EPS), {"ball", "one step"}),
    "fmn": (FMN(), {"minimal"}),
    "foolbox": (Foolbox(attack=parse("LinfPGD"), eps=EPS), {"ball", "external"}),
    "mifgsm": (MIFGSM(eps=EPS), {"ball", "many steps"}),
    "noise": (Noise(eps=EPS), {"ball", "control"}),
    "pgd": (PGD(eps=EPS), {"ball", "many steps"}),
    "ray": (Ray(), {"minimal"}),
    "spatial": (Spatial(), set()),
    "square": (Square(eps=EPS), {"ball", "blind"}),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_others_must_know_is_a_fact_of_the_class(name):
    attack, expected = FACTS[name]
    facts = attack.facts
    flags = {flag for flag in ("ball", "minimal", "blind", "control", "external") if getattr(facts, flag)}
    assert flags | ({facts.ascent} - {None}) == expected


def test_an_ensemble_says_which_of_its_stages_is_blind():
    facts = Ensemble(eps=EPS).facts
    assert [stage.name for stage in facts.stages] == ["noise", "fgsm", "fmn", "apgd", "apgd_t", "square"]
    assert [stage.name for stage in facts.stages if stage.blind] == ["square"]
    assert facts.passes == sum(stage.attack.passes for stage in Ensemble(eps=EPS).stages)
    assert facts.steps == Ensemble(eps=EPS).steps


@pytest.mark.parametrize("variant", variants(), ids=called)
def test_no_image_takes_more_passes_than_an_attack_says(variant, model, rows):
    attack = variant[1]
    assert int(attack(model, *rows, keep="worst").passes.max()) <= attack.facts.passes


def test_steps_of_a_length_of_their_own_say_how_far_they_lead():
    assert PGD(eps=EPS, steps=20, step=0.001).path_length == pytest.approx(0.02)
    assert PGD(eps=EPS).path_length == BIM(eps=EPS).path_length == MIFGSM(eps=EPS).path_length == float("inf")
    assert APGD(eps=EPS).path_length is None


def test_every_trouble_has_its_words():
    assert [flag.bit for flag in FLAGS] == [trouble.value for trouble in Trouble]
