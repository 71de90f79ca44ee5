#!/usr/bin/env bash
# Distillation at 20, 50 and 70 as system 001 has it, a net behind squeezed images, and the plain net, trained and attacked
# on the digits of scikit-learn: six minutes on one core. What it came to: docs/reference/reference-systems.md.
#
#   examples/reference-systems/001-defences.sh [FOLDER]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
out="${1:-defences}"
mkdir -p "$out"

learn="mirror=False, shift=1, learning_rate=1, weight_decay=0.00001"
demur train simple_cnn digits --recipe "standard(epochs=20, mirror=False, shift=1)" --out "$out/plain"
for heat in 20 50 70; do
  demur train simple_cnn digits --recipe "distilled(temperature=$heat, epochs=40, $learn)" --out "$out/distilled-$heat"
done

plain="zoo:simple_cnn@$out/plain/model.safetensors"
audit() { # NAME MODEL
  demur audit "$2" digits --plan "$here/001-defences.toml" --out "$out/audit-$1" "${@:3}" || [ $? -eq 1 ]
}
audit plain "$plain"
for heat in 20 50 70; do
  audit "distilled-$heat" "zoo:simple_cnn@$out/distilled-$heat/model.safetensors" --set "conditions.surrogate=$plain"
done
