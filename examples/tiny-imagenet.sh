#!/usr/bin/env bash
# A small net on Tiny ImageNet in its own layout: learn from 60 % of the images, audit the others.
# 2,000 images of 200 classes are far too few to learn from: the audit has to say so.
set -euo pipefail
: "${DEMUR_SHARED:?name the folder of the real images and weights}"
data="tiny-imagenet:$DEMUR_SHARED/data/tiny-imagenet"

test -f models/tiny-imagenet/model.safetensors || demur train compact_resnet "$data" --epochs 12 --out models/tiny-imagenet
demur audit zoo:compact_resnet@models/tiny-imagenet/model.safetensors "$data" "$@"
