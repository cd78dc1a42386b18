#!/usr/bin/env bash
# Build yosort with AddressSanitizer, UndefinedBehaviorSanitizer and Cython's bounds checks into a
# scratch folder, and run the tests of the compiled loops with it: tools/sanitize.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A directive in a file's first line outweighs one of the command line, so a copy is changed.
mkdir "$work/src"
cp -r meson.build yosort "$work/src"
sed -i -E '1s/(boundscheck|wraparound|initializedcheck)=False/\1=True/g' "$work"/src/yosort/*.pyx
grep -q boundscheck=True "$work/src/yosort/_cpu.pyx" || { echo "bounds checks are not on"; exit 1; }
meson setup "$work/build" "$work/src" --buildtype=debugoptimized -Db_sanitize=address,undefined \
  -Db_lundef=false --prefix="$work/prefix" -Dpython.install_env=prefix >"$work/log" || { cat "$work/log"; exit 1; }
meson install -C "$work/build" >"$work/log" || { tail -50 "$work/log"; exit 1; }
site=$(dirname "$(find "$work/prefix" -type d -name yosort | head -n 1)")
# The sanitizer's runtime must come first, and Python's own arenas hide its errors.
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONPATH="$site"
(cd "$work" && python -c "import sys, yosort; assert yosort.__file__.startswith(sys.argv[1]), yosort.__file__" "$site")
# Reports go past pytest, which would capture them and die with them.
pytest -q -p no:cacheprovider --capture=sys "${@:-tests/ops}"
