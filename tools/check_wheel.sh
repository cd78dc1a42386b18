#!/usr/bin/env bash
# Build a wheel twice and compare; install it into an empty environment where nothing can be
# compiled, and run the bundled model there. Needs a C compiler for the building only.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
for i in 1 2; do
  pip wheel -q --no-deps --no-cache-dir . -w "$work/wheels$i"
done
wheel=$(echo "$work"/wheels1/*.whl)
if ! cmp "$wheel" "$work"/wheels2/*.whl; then
  echo "two builds of the same tree differ"; exit 1
fi
python3 -m venv "$work/venv"
# Neither a compiler nor a source archive: whatever is not in a wheel cannot be installed.
CC=false CXX=false "$work/venv/bin/pip" install -q --only-binary :all: "$wheel"
cd "$work"
env -i PATH="$work/venv/bin" "$work/venv/bin/yosort" fill-mask "Paris is the <mask> of France." --top-k 1
echo "$(basename "$wheel"): $(sha256sum <"$wheel" | cut -c1-16), the same twice; installs and runs alone"
