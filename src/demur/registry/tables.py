"""The tables of demur's own names: one line for each; packages add theirs by entry points."""

from collections.abc import Mapping

ATTACKS: Mapping[str, str] = {
    "apgd": "demur.attacks.apgd:APGD",
    "apgd_t": "demur.attacks.apgd:APGDT",
    "art": "demur.attacks.external.libraries:ART",
    "bim": "demur.attacks.gradient_sign:BIM",
    "callable": "demur.attacks.external.callable_attack:ByPath",
    "cw": "demur.attacks.minimal_norm:CW",
    "ddn": "demur.attacks.minimal_norm:DDN",
    "deepfool": "demur.attacks.minimal_norm:DeepFool",
    "ensemble": "demur.attacks.ensemble:Ensemble",
    "fab": "demur.attacks.fab:FAB",
    "fab_t": "demur.attacks.fab:FABT",
    "fgsm": "demur.attacks.gradient_sign:FGSM",
    "fmn": "demur.attacks.minimal_norm:FMN",
    "foolbox": "demur.attacks.external.libraries:Foolbox",
    "hopskipjump": "demur.attacks.hop_skip_jump:HopSkipJump",
    "mifgsm": "demur.attacks.gradient_sign:MIFGSM",
    "noise": "demur.attacks.noise:Noise",
    "pgd": "demur.attacks.pgd:PGD",
    "ray": "demur.attacks.ray:Ray",
    "spatial": "demur.attacks.spatial:Spatial",
    "square": "demur.attacks.square:Square",
    "torchattacks": "demur.attacks.external.libraries:Torchattacks",
}

CORRUPTIONS: Mapping[str, str] = {
    "brightness": "demur.corruptions.digital:Brightness",
    "contrast": "demur.corruptions.digital:Contrast",
    "defocus_blur": "demur.corruptions.blur:DefocusBlur",
    "elastic_transform": "demur.corruptions.geometric:ElasticTransform",
    "fog": "demur.corruptions.weather:Fog",
    "frost": "demur.corruptions.weather:Frost",
    "gaussian_blur": "demur.corruptions.blur:GaussianBlur",
    "gaussian_noise": "demur.corruptions.noises:GaussianNoise",
    "glass_blur": "demur.corruptions.blur:GlassBlur",
    "impulse_noise": "demur.corruptions.noises:ImpulseNoise",
    "jpeg_compression": "demur.corruptions.digital:JPEGCompression",
    "low_light": "demur.corruptions.digital:LowLight",
    "motion_blur": "demur.corruptions.blur:MotionBlur",
    "pixelate": "demur.corruptions.digital:Pixelate",
    "rotation": "demur.corruptions.geometric:Rotation",
    "salt_and_pepper": "demur.corruptions.noises:SaltAndPepper",
    "saturate": "demur.corruptions.digital:Saturate",
    "shot_noise": "demur.corruptions.noises:ShotNoise",
    "snow": "demur.corruptions.weather:Snow",
    "spatter": "demur.corruptions.weather:Spatter",
    "speckle_noise": "demur.corruptions.noises:SpeckleNoise",
    "zoom_blur": "demur.corruptions.blur:ZoomBlur",
}

MAPS: Mapping[str, str] = {
    "grad_cam": "demur.attribution.grad_cam:GradCAM",
    "gradient": "demur.attribution.gradient_maps:Gradient",
    "gradient_x_input": "demur.attribution.gradient_maps:GradientXInput",
    "integrated_gradients": "demur.attribution.gradient_maps:IntegratedGradients",
    "smooth_grad": "demur.attribution.gradient_maps:SmoothGrad",
}

MARKED = "marked"
"""The region that the data themselves mark, by boxes and masks."""

CENTRED = "centred"
"""A blob in the middle, which knows nothing of the image and must be beaten; any other region is a map by its name."""

SIGNALS: Mapping[str, str] = {
    "activation_entropy": "demur.signals.activation_entropy:ActivationEntropy",
    "conductance": "demur.signals.conductance:Conductance",
    "doctor": "demur.signals.softmax_scores:Doctor",
    "energy": "demur.signals.softmax_scores:Energy",
    "ensemble_disagreement": "demur.signals.ensemble_disagreement:EnsembleDisagreement",
    "entropy": "demur.signals.softmax_scores:Entropy",
    "feature_squeezing": "demur.signals.feature_squeezing:FeatureSqueezing",
    "knn": "demur.signals.feature_distances:KNN",
    "label_change_rate": "demur.signals.label_change_rate:LabelChangeRate",
    "mahalanobis": "demur.signals.feature_distances:Mahalanobis",
    "margin": "demur.signals.softmax_scores:Margin",
    "max_logit": "demur.signals.softmax_scores:MaxLogit",
    "maxlogit_pnorm": "demur.signals.pnorm:MaxLogitPNorm",
    "mc_dropout": "demur.signals.disagreement:MCDropout",
    "msp": "demur.signals.softmax_scores:MSP",
    "odin": "demur.signals.odin:ODIN",
    "pnorm": "demur.signals.pnorm:PNorm",
    "relative_u": "demur.signals.relative_u:RelativeU",
    "stack": "demur.signals.stack:Stack",
    "temperature_scaled": "demur.signals.temperature:TemperatureScaled",
    "tempered": "demur.signals.temperature:Tempered",
    "tta": "demur.signals.disagreement:TTA",
    "vim": "demur.signals.feature_distances:ViM",
}

POLICIES: Mapping[str, str] = {
    "band": "demur.policies.band:Band",
    "capacity": "demur.policies.capacity:Capacity",
    "certified": "demur.policies.certified:Certified",
    "certified_by_class": "demur.policies.by_class:CertifiedByClass",
    "certified_by_site": "demur.policies.by_site:CertifiedBySite",
    "fitted_rule": "demur.policies.fitted_rule:FittedRule",
    "fitted_threshold": "demur.policies.fitted_threshold:FittedThreshold",
    "rule": "demur.policies.policy:Rule",
    "threshold": "demur.policies.policy:Threshold",
}

DATA: Mapping[str, str] = {
    "cifar10": "demur.data.cifar10:open_source",
    "csv": "demur.data.csv_file:open_source",
    "dicom": "demur.data.dicom:open_source",
    "digits": "demur.data.digits:open_source",
    "elpv": "demur.data.elpv:open_source",
    "fashion": "demur.data.fashion:open_source",
    "folder": "demur.data.image_folder:open_source",
    "hf": "demur.data.hf_datasets:open_source",
    "idx": "demur.data.idx:open_source",
    "npz": "demur.data.npz:open_source",
    "parquet": "demur.data.parquet:open_source",
    "tiny-imagenet": "demur.data.tiny_imagenet:open_source",
    "torchvision": "demur.data.torchvision_datasets:open_source",
    "webdataset": "demur.data.webdataset:open_source",
}

ARCHITECTURES: Mapping[str, str] = {
    "compact_resnet": "demur.zoo:CompactResNet",
    "grouped_resnet": "demur.zoo:GroupedResNet",
    "hybrid": "demur.zoo.hybrid:Hybrid",
    "mobile_cnn": "demur.zoo:MobileCNN",
    "mobilenet_v2": "demur.zoo:MobileNetV2",
    "resnet18": "demur.zoo:ResNet18",
    "resnet18_cifar": "demur.zoo:resnet18_cifar",
    "efficientnet_lite0": "demur.zoo.efficientnet_lite:EfficientNetLite",
    "resnet20": "demur.zoo:resnet20",
    "resnet56": "demur.zoo:resnet56",
    "simple_cnn": "demur.zoo:SimpleCNN",
    "verifiable_cnn": "demur.zoo:VerifiableCNN",
}

SHIPPED = ("fashion", "fashion_ibp")
"""The classifiers that come with demur, by the scheme that is their whole address."""

MODELS: Mapping[str, str] = {
    "ensemble": "demur.adapters.model_ensemble:load_ensemble",
    "export": "demur.adapters.exported_program:load_exported",
    "fashion": "demur.adapters.architectures:load_shipped",
    "fashion_ibp": "demur.adapters.architectures:load_shipped",
    "hf": "demur.adapters.hf_models:load_hf",
    "keras": "demur.adapters.keras_models:load_keras",
    "module": "demur.adapters.own_module:load_own",
    "onnx": "demur.adapters.onnx_model:load_onnx",
    "timm": "demur.adapters.timm_models:load_timm",
    "torchscript": "demur.adapters.torchscript:load_torchscript",
    "torchvision": "demur.adapters.torchvision_models:load_torchvision",
    "zoo": "demur.adapters.architectures:load_from_zoo",
}

RECIPES: Mapping[str, str] = {
    "distilled": "demur.training.distillation:Distilled",
    "entropy_guided": "demur.training.adversarial:EntropyGuided",
    "fgsm_rs": "demur.training.adversarial:FastFGSM",
    "gaussian_augmentation": "demur.training.standard:GaussianNoise",
    "ibp": "demur.training.verifiable:IBP",
    "n_fgsm": "demur.training.adversarial:NFGSM",
    "pgd_at": "demur.training.adversarial:PGDTraining",
    "standard": "demur.training.standard:Standard",
    "trades": "demur.training.adversarial:TRADES",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "architecture": ARCHITECTURES,
    "attack": ATTACKS,
    "corruption": CORRUPTIONS,
    "data": DATA,
    "map": MAPS,
    "model": MODELS,
    "policy": POLICIES,
    "recipe": RECIPES,
    "signal": SIGNALS,
}
