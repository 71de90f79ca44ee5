#!/usr/bin/env bash
# The nets of system 000 trained on CIFAR-10 and audited; a small one hardened; one-step training with and without entropy
# as its guide, three seeds each. Four hours on two cores; what is finished is not repeated, so it can grow arm by arm.
# What it came to: docs/reference/reference-systems.md. Weights and records of it are kept in study/.
#
#   examples/reference-systems/000-hardening.sh [FOLDER]     DEMUR_SHARED holds data/cifar10/
set -euo pipefail
: "${DEMUR_SHARED:?name the folder of the real images and weights}"
here="$(cd "$(dirname "$0")" && pwd)"
out="${1:-hardening}"
mkdir -p "$out"

names="classes=airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
[ -f "$out/train.parquet" ] || python "$here/set_aside.py" "$DEMUR_SHARED/data/cifar10/train.parquet" "$out/train.parquet"
learn() { # NAME ARCHITECTURE RECIPE
  demur train "$2" "parquet:$out/train.parquet?$names" --recipe "$3" --out "$out/$1" "${@:4}"
}
audit() { # NAME ARCHITECTURE
  demur audit "zoo:$2@$out/$1/model.safetensors" "parquet:$DEMUR_SHARED/data/cifar10/test.parquet" \
    --out "$out/audit-$1" "${@:3}" || [ $? -ne 2 ]
}

small="compact_resnet(width=48)"
learn simple_cnn simple_cnn "standard(epochs=14)"
learn mobile_cnn mobile_cnn "standard(epochs=10)"
learn hybrid hybrid "standard(epochs=4, frozen=1, learning_rate=0.05, backbone_rate=0.3)"
learn n_fgsm "$small" "n_fgsm(eps=8/255, epochs=30)"

audit simple_cnn simple_cnn
audit mobile_cnn mobile_cnn
audit hybrid hybrid
audit n_fgsm "$small"
for net in simple_cnn mobile_cnn hybrid; do
  audit "$net" "$net" --plan "$here/000-attacks.toml" --out "$out/audit-$net-published"
done
audit n_fgsm "$small" --plan "$here/000-hardening.toml" --out "$out/audit-n_fgsm-8"
demur compare "$out"/audit-{simple_cnn,mobile_cnn,hybrid,n_fgsm} --html "$out/comparison.html"

# Models, attacks and detectors: one table, $out/matrix/matrix.csv.
cat >"$out/matrix.toml" <<END
models = [
  "zoo:simple_cnn@$out/simple_cnn/model.safetensors", "zoo:mobile_cnn@$out/mobile_cnn/model.safetensors",
  "zoo:hybrid@$out/hybrid/model.safetensors", "zoo:$small@$out/n_fgsm/model.safetensors",
]
data = "parquet:$DEMUR_SHARED/data/cifar10/test.parquet"
attacks = ["fgsm(eps=0.03)", "pgd(eps=0.03, step=0.005, steps=20)"]
signals = ["msp", "energy", "activation_entropy"]
attacked = 400
limit = 3000
END
demur matrix "$out/matrix.toml" --out "$out/matrix"

for seed in 0 1 2; do
  for recipe in n_fgsm entropy_guided; do
    learn "$recipe-$seed" compact_resnet "$recipe(eps=8/255, epochs=8, mixed_precision=True)" --seed "$seed"
    audit "$recipe-$seed" compact_resnet --plan "$here/000-hardening.toml"
  done
done
