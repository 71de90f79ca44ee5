#!/usr/bin/env bash
# Distillation at 20, 50 and 70 as system 001 has it, a net behind squeezed images, and the plain net, trained and attacked
# on the digits of scikit-learn: ten minutes on one core. What it came to: docs/reference/reference-systems.md.
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
for bits in one_bit two_bits three_bits; do
  PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" \
    audit "$bits" "module:squeezed_net:$bits@$out/plain/model.safetensors" --set "conditions.surrogate=$plain"
done
for heat in 20 50 70; do
  audit "distilled-$heat" "zoo:simple_cnn@$out/distilled-$heat/model.safetensors" --set "conditions.surrogate=$plain"
done

# Models, attacks and detectors: one table, $out/matrix/matrix.csv.
cat >"$out/matrix.toml" <<END
models = ["$plain", "zoo:simple_cnn@$out/distilled-20/model.safetensors", "zoo:simple_cnn@$out/distilled-70/model.safetensors"]
data = "digits"
attacks = ["pgd(eps=0.1, loss='softmax')", "pgd(eps=0.1, loss='margin', keep='worst')"]
signals = ["msp", "energy", "feature_squeezing"]
attacked = 200
END
demur matrix "$out/matrix.toml" --out "$out/matrix"
