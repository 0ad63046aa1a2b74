#!/usr/bin/env bash
# Fetches the program kind from Debian's package, whatever release this machine runs.
# usage: kind.sh FOLDER    → FOLDER/kind
set -euo pipefail
out=$(mkdir -p "${1:?usage: $0 FOLDER}" && cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p parts lists/partial
# The release of this machine, replaced by the one that has the package; keys and addresses stay.
awk 'BEGIN { RS = ""; ORS = "\n\n" } NR == 1' /etc/apt/sources.list.d/debian.sources |
    sed 's/^Suites: .*/Suites: sid/' >parts/sid.sources
options=(-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists")
apt-get "${options[@]}" -qq update
apt-get "${options[@]}" -qq download kind
dpkg -x kind_*.deb root
cp root/usr/bin/kind "$out/kind"
