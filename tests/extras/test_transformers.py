"""Small vision transformers of timm, torchvision and transformers: maps of patches, mutants, norms, attacks."""

from importlib.util import find_spec

import pytest
import torch

from demur.attacks.pgd import PGD
from demur.attribution.grad_cam import GradCAM
from demur.attribution.target_layers import last_grid
from demur.attribution.weight_randomisation import with_random_weights
from demur.classifier import BoundClassifier
from demur.evidence import Evidence
from demur.lipschitz import upper_bound
from demur.randomness import Keys
from demur.registry import build
from demur.signals import needs_of

ABSENT = [name for name in ("timm", "torchvision", "transformers") if find_spec(name) is None]
if ABSENT:
    pytest.skip(f"{', '.join(ABSENT)} not installed: make test-extras", allow_module_level=True)

CLASSES, SHAPE = ("a", "b", "c"), (3, 32, 32)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def timm_vit(name="vit_tiny_patch16_224", **more):
    import timm

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 2}
    return timm.create_model(name, pretrained=False, num_classes=3, **sizes, **more)


def timm_swin():
    import timm

    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        pretrained=False,
        num_classes=3,
        img_size=32,
        patch_size=4,
        window_size=4,
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
    )


def torchvision_vit():
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 48, 96, num_classes=3)


def hf_vit():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 48, "intermediate_size": 96}
    return ViTForImageClassification(ViTConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, num_labels=3))


MODELS = {
    "timm": (timm_vit, (4, 4), "norm1"),
    "timm with registers": (lambda: timm_vit(reg_tokens=4), (4, 4), "norm1"),
    "timm, mean of the tokens": (lambda: timm_vit(global_pool="avg", class_token=False), (4, 4), ""),
    "timm, distilled": (lambda: timm_vit("deit_tiny_distilled_patch16_224"), (4, 4), "norm1"),
    "timm swin": (timm_swin, (4, 4), ""),
    "torchvision": (torchvision_vit, (4, 4), "ln_1"),
    "transformers": (hf_vit, (4, 4), "attention.v_proj"),
}


@pytest.fixture(scope="module", params=MODELS)
def subject(request):
    """A classifier of random weights; its logits are made large enough to have slopes."""
    make, grid, layer = MODELS[request.param]
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        module = make()
        for name, parameter in module.named_parameters():
            if parameter.ndim == 2 and len(parameter) == 3:
                torch.nn.init.normal_(parameter, std=1.0)
            assert name
    return BoundClassifier(module.eval(), classes=CLASSES, input_shape=SHAPE), grid, layer


def images(rows):
    return torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_grad_cam_is_on_the_grid_of_patches(subject):
    classifier, grid, layer = subject
    assert last_grid(classifier).endswith(layer)
    x, y, keys = images(4), torch.tensor([0, 1, 2, 0]), Keys.of(0, list("abcd"), "")
    heat = GradCAM()(classifier, x, y, keys)
    assert tuple(heat.shape[1:]) == grid
    assert heat.any()
    other = GradCAM()(with_random_weights(classifier), x, y, keys)
    assert other.isfinite().all()


def test_a_patch_that_alone_is_changed_lights_up(subject):
    """Where the token's own content is what speaks, the map changes most at its place."""
    classifier, grid, _ = subject
    x, y, keys = images(1).expand(2, -1, -1, -1).clone(), torch.zeros(2, dtype=torch.long), Keys.of(0, list("ab"), "")
    x[1, :, 8:16, 16:24] = 1 - x[1, :, 8:16, 16:24]
    name = next(
        name for name in classifier.layer_names if name.endswith(("patch_embed.proj", "conv_proj", "projection"))
    )
    maps = classifier.activations(x, [name])[name].detach()
    moved = (maps[1] - maps[0]).abs().sum(dim=0)
    side = moved.shape[0] // grid[0]
    cells = moved.unflatten(0, (grid[0], side)).unflatten(2, (grid[1], side)).sum(dim=(1, 3))
    assert int(cells.flatten().argmax()) == 1 * 4 + 2
    assert GradCAM()(classifier, x, y, keys).isfinite().all()


def test_mutants_attacks_and_norms_bear_it(subject):
    classifier, _, _ = subject
    x, rows = images(24), 24
    with torch.no_grad():
        y = classifier.logits(x).argmax(dim=1)
    labels = torch.cat([(y[:6] + 1) % 3, y[6:]])
    signal = build("signal", "label_change_rate(mutants=5, gamma=0.02, kept=0.5)")
    needs = needs_of(signal)
    given = Evidence(classifier, x, needs.layers, keys=Keys.of(0, [str(row) for row in range(rows)], ""), check=False)
    with torch.no_grad():
        scores = signal.fit([given], labels)(given)
    assert scores.isfinite().all()
    assert sum("proj" not in name and "patch" not in name for name in classifier.filters) >= 2
    assert PGD(eps=0.5, steps=5)(classifier, x, y).success.any()
    found = upper_bound(classifier)
    assert found.upper is None
    assert found.reason
    assert len(found.rows) >= 5
    two_heads = classifier.name == "VisionTransformerDistilled"  # their mean is no one linear layer
    assert classifier.capabilities.linear_head is not two_heads
