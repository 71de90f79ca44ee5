#!/usr/bin/env bash
# Every signal on a published ResNet-20; DEMUR_SHARED holds models/ and data/cifar10/. All 10,000 images take half an
# hour on two cores; --limit 4000 takes twelve minutes.
# Needs pip install 'demur[signals]'.
set -euo pipefail
: "${DEMUR_SHARED:?name the folder of the real images and weights}"

demur audit "zoo:resnet20@$DEMUR_SHARED/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225" \
  "parquet:$DEMUR_SHARED/data/cifar10/test.parquet" --plan "$(dirname "$0")/signals-cifar10.toml" "$@"
