#!/usr/bin/env bash
# Build yosort with AddressSanitizer, UndefinedBehaviorSanitizer and checks of every index in Cython
# (the option `checked`), and run the tests of the compiled loops with it:
#
#     tools/sanitize.sh [pytest arguments]
#
# SANITIZED names a folder to build in, for the next run to use again; else it is a scratch folder.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${SANITIZED:-}" ]; then
  mkdir -p "$SANITIZED" && work=$(realpath "$SANITIZED")
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
meson setup "$work/build" . --buildtype=debugoptimized -Db_sanitize=address,undefined \
  -Dchecked=true -Db_lundef=false --prefix="$work/prefix" -Dpython.install_env=prefix >"$work/log" || { cat "$work/log"; exit 1; }
meson install -C "$work/build" >"$work/log" || { tail -50 "$work/log"; exit 1; }
site=$(dirname "$(find "$work/prefix" -type d -name yosort | head -n 1)")
# The sanitizer's runtime must come first, and Python's own arenas hide its errors.
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
# Tests ask for more memory than there is, and must get none.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# PYTHONSAFEPATH: python -m pytest must not find the source instead.
export PYTHONMALLOC=malloc PYTHONPATH="$site" PYTHONSAFEPATH=1
(cd "$work" && python -c "import sys, yosort; assert yosort.__file__.startswith(sys.argv[1]), yosort.__file__" "$site")
# Reports go past pytest, which would capture them and die with them.
pytest -q -p no:cacheprovider --capture=sys "${@:-tests/ops}"
