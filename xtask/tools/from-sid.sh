#!/usr/bin/env bash
# Fetches a program from its package in Debian's unstable release, whatever release this machine runs:
# for programs that need nothing beside them.
# usage: from-sid.sh PACKAGE PROGRAM FOLDER    gives FOLDER/PROGRAM
set -euo pipefail
package=${1:?usage: $0 PACKAGE PROGRAM FOLDER}
program=${2:?}
mkdir -p "${3:?}"
out=$(cd "$3" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p parts lists/partial
# The release of this machine, replaced by the one that has the package; keys and addresses stay.
awk 'BEGIN { RS = ""; ORS = "\n\n" } NR == 1' /etc/apt/sources.list.d/debian.sources |
    sed 's/^Suites: .*/Suites: sid/' >parts/sid.sources
options=(-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root)
apt-get "${options[@]}" -qq update
apt-get "${options[@]}" -qq download "$package/sid"
dpkg -x "$package"_*.deb root
cp "root/usr/bin/$program" "$out/.$program"
mv "$out/.$program" "$out/$program"
