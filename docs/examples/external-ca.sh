#!/bin/sh
# An external CA for muster with plain OpenSSL: ca.plugin.exec.command=/path/external-ca.sh DIR
#
# DIR holds ca.crt and ca.key, the CA that signs, and chain.crt when that one is an intermediate: what leads from it to
# the root. The request comes on standard input, the certificate and its CAs go to standard output. What it is to be
# like stands in the environment and is already in OpenSSL's own form; see external-ca.md.
set -eu
umask 077
ca=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/csr"
{
	echo "basicConstraints = critical, CA:FALSE"
	echo "keyUsage = critical, digitalSignature"
	echo "extendedKeyUsage = $MUSTER_EKU"
	echo "subjectKeyIdentifier = hash"
	echo "authorityKeyIdentifier = keyid"
	[ -z "$MUSTER_SAN" ] || echo "subjectAltName = $MUSTER_SAN"
} >"$work/extensions"

# Nothing is copied from the request but its key and its subject.
openssl x509 -req -sha256 -in "$work/csr" -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -set_serial "0x4$(openssl rand -hex 15)" \
	-days "$MUSTER_VALIDITY_DAYS" -extfile "$work/extensions" -out "$work/crt" 2>"$work/said" ||
	{ cat "$work/said" >&2; exit 1; }

cat "$work/crt" "$ca/ca.crt"
[ ! -e "$ca/chain.crt" ] || cat "$ca/chain.crt"
