#!/usr/bin/env bash
# Break a scratch copy of the tree in three ways, and see that tools/sanitize.sh notices each: a
# write past a row in C (AddressSanitizer), an index past an array in Cython (its own check), an
# integer that overflows in C (UndefinedBehaviorSanitizer). Each is met before those planted earlier.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$work"
cd "$work"

plant() { # FILE, WHAT IS THERE, WHAT IT BECOMES, WHAT MUST BE REPORTED
  cp "$1" before
  sed -i "s/$2/$3/" "$1"
  if cmp -s before "$1"; then
    echo "$1: has no '$2' to break"; exit 1
  fi
  if SANITIZED=$work/built tools/sanitize.sh -x tests/ops/test_ops.py -k cpu >log 2>&1; then
    echo "$1: $3: NOT noticed"; exit 1
  fi
  if ! grep -m 1 -E "$4" log; then
    tail -50 log; echo "$1: $3: failed, but not with '$4'"; exit 1
  fi
}

plant yosort/kernels/cpu/cumulation.h 'vf_set1(scale), dims - d)' 'vf_set1(scale), dims - d + 1)' 'ERROR: AddressSanitizer'
plant yosort/_cpu.pyx 'job.query_offsets, job.offsets = &query_offsets\[0\], &offsets\[0\]' 'job.query_offsets, job.offsets = \&query_offsets[0], \&offsets[offsets.shape[0]]' 'IndexError: Out of bounds'
plant yosort/kernels/cpu/pool.h '^static int ys_pool_init(.*{' '&\n    volatile int most = 0x7fffffff; most += size;' 'signed integer overflow'
echo "each of the three was noticed"
