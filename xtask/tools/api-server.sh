#!/usr/bin/env bash
# Builds kube-apiserver (Kubernetes 1.20.2, as Debian 12 ships its source) and fetches etcd, from
# Debian's packages alone. Some 6 minutes of CPU time and 4 GB of disk, once; the work folder goes.
# usage: api-server.sh DIR    gives DIR/kube-apiserver and DIR/etcd
set -euo pipefail
mkdir -p "${1:?usage: $0 DIR}"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

# The machine's own sources, with those of source packages, in lists of this folder's own.
mkdir -p parts lists/partial
for sources in /etc/apt/sources.list.d/debian.sources; do
    [ -e "$sources" ] || { echo "$sources is not there: this needs Debian 12" >&2; exit 1; }
    sed 's/^Types: deb$/Types: deb deb-src/' "$sources" > "parts/$(basename "$sources")"
done
apt=(-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" -qq update
apt-get "${apt[@]}" -qq download golang-1.19-go golang-1.19-src golang-github-modern-go-reflect2-dev etcd-server
apt-get "${apt[@]}" -qq source --download-only kubernetes
for package in *.deb; do dpkg -x "$package" root; done

kubernetes=gopath/src/k8s.io/kubernetes
mkdir -p gopath/src/k8s.io
tar xzf kubernetes_*.orig.tar.gz
mv kubernetes-1.20.2 "$kubernetes"
# The vendored reflect2 does not link with this Go; Debian's package of it does.
reflect2=$kubernetes/vendor/github.com/modern-go/reflect2
rm -f "$reflect2"/*.{go,s}
cp root/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$reflect2/"
rm -f "$reflect2"/*_test.go

export GOROOT=$work/root/usr/lib/go-1.19 GOPATH=$work/gopath GOCACHE=$work/gocache
export GO111MODULE=off GOFLAGS= CGO_ENABLED=0
# The Debian package splits GOROOT: what is shared is linked into it.
for part in api src test misc pkg; do
    [ -e "$GOROOT/$part" ] || ln -s "$work/root/usr/share/go-1.19/$part" "$GOROOT/$part"
done
PATH=$GOROOT/bin:$PATH
cd "$kubernetes"
go build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
staging=$(grep -rl --include=*.go '+k8s:openapi-gen=' staging/src/k8s.io | xargs -n1 dirname | sort -u |
    sed 's#^staging/src/#k8s.io/kubernetes/vendor/#' | grep -v -e _examples -e sample)
own=$(grep -rl --include=*.go '+k8s:openapi-gen=' pkg cmd | xargs -n1 dirname | sort -u | sed 's#^#k8s.io/kubernetes/#')
"$work/openapi-gen" -i "$(echo $staging $own | tr ' ' ',')" -p k8s.io/kubernetes/pkg/generated/openapi \
    -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt -r "$work/violations.txt" \
    --output-base "$work/gopath/src"
go build -p 2 -ldflags '-s -w' -o "$work/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
# Both at once, so that a folder that was cut off midway is not taken for a finished one.
mv "$work/root/usr/bin/etcd" "$out/etcd"
mv "$work/kube-apiserver" "$out/kube-apiserver"
