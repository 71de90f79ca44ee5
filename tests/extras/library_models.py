"""Small models of other libraries, made and saved by these, and the addresses that open them."""

from pathlib import Path

from safetensors.torch import save_file

CLASSES = ("cat", "dog")


def timm_model(name, folder: Path, **options):
    import timm

    module = timm.create_model(name, pretrained=False, num_classes=len(CLASSES), **options).eval()
    save_file(module.state_dict(), folder / "timm.safetensors")
    return module, f"timm:{name}@{folder / 'timm.safetensors'}"


def torchvision_model(name, folder: Path, **options):
    from torchvision import models

    module = models.get_model(name, weights=None, num_classes=len(CLASSES), **options).eval()
    save_file(module.state_dict(), folder / "torchvision.safetensors")
    return module, f"torchvision:{name}@{folder / 'torchvision.safetensors'}"


def _vit(side):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ViTConfig(**sizes, image_size=side, patch_size=16, id2label=dict(enumerate(CLASSES)))
    return ViTForImageClassification(config)


def _resnet(_side):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label=dict(enumerate(CLASSES)))
    return ResNetForImageClassification(config)


HF = {
    "vit": (_vit, "ViTImageProcessor", {"size": {"height": 96, "width": 96}}),
    "beit-cut": (
        _resnet,
        "BeitImageProcessor",
        {"size": {"height": 80, "width": 72}, "do_center_crop": True, "crop_size": {"height": 64, "width": 64}},
    ),
    "clip": (
        _resnet,
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 70}, "crop_size": {"height": 63, "width": 63}},
    ),
    "convnext": (_resnet, "ConvNextImageProcessor", {"size": {"shortest_edge": 96}}),
    "convnext-384": (_resnet, "ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "efficientnet": (
        _resnet,
        "EfficientNetImageProcessor",
        {"size": {"height": 64, "width": 64}, "rescale_factor": 1 / 127.5, "rescale_offset": True},
    ),
    "levit": (
        _resnet,
        "LevitImageProcessor",
        {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    ),
    "mobilevit": (
        _resnet,
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    ),
}
"""Model, image processor and its fields."""


def hf_model(kind, folder: Path, backend: str):
    import transformers

    make, processor, fields = HF[kind]
    module = make(96).eval()
    module.save_pretrained(folder)
    getattr(transformers, processor)(**fields).save_pretrained(folder)
    return module, f"hf:{folder}?processor={backend}"
