#!/bin/sh
# An external CA for muster with plain OpenSSL: ca.plugin.exec.command=/path/external-ca.sh DIR
#
# DIR holds ca.crt and ca.key, the CA that signs, and chain.crt when that one is an intermediate: what leads from it to
# the root. The request comes on standard input, the certificate and its CAs go to standard output. What it is to be
# like stands in the environment, already in OpenSSL's own form; see docs/external-ca.md.
set -eu
umask 077
ca=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/csr"
: >"$work/index"
cat >"$work/conf" <<END
[ca]
default_ca = muster
[muster]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = names
x509_extensions = extensions
[names]
commonName = supplied
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = $MUSTER_EKU
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
[ -z "$MUSTER_SAN" ] || echo "subjectAltName = $MUSTER_SAN" >>"$work/conf"

# An hour back, for clocks that differ. Nothing is taken from the request but its key.
now=$(date +%s)
openssl ca -batch -notext -config "$work/conf" -cert "$ca/ca.crt" -keyfile "$ca/ca.key" -subj "/CN=$MUSTER_COMMON_NAME" \
	-startdate "$(date -u -d "@$((now - 3600))" +%Y%m%d%H%M%SZ)" \
	-enddate "$(date -u -d "@$((now + MUSTER_VALIDITY_SECONDS))" +%Y%m%d%H%M%SZ)" \
	-in "$work/csr" -out "$work/crt" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }

cat "$work/crt" "$ca/ca.crt"
[ ! -e "$ca/chain.crt" ] || cat "$ca/chain.crt"
