#!/bin/sh
# Makes the store_* files with keytool (OpenJDK 17): an agent's key store as CloudStack's scripts make it - key and
# certificate under the alias "cloud", the CA as the trusted entry "cloudca.1" - in each form that is met, and those that
# have to be refused. Run once, in this folder; the results are kept, the tests need no Java.
set -eu
pass=Ab3dEf6hJk9mNp2Q
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
years=36500
from="2024/01/01 00:00:00"

ca() {
	keytool -genkeypair -keystore "$work/ca.p12" -storepass "$pass" -alias root -keyalg RSA -keysize 2048 -startdate "$from" -validity $years \
		-dname CN=ca.cloudstack.apache.org -ext bc:critical=ca:true -ext ku:critical=keyCertSign,cRLSign
	keytool -exportcert -rfc -keystore "$work/ca.p12" -storepass "$pass" -alias root -file "$work/ca.crt"
}

# store FILE ALIAS TYPE [-J...]: key made, signed by the CA, imported
store() {
	file=$1 alias=$2 type=$3
	shift 3
	[ -e "$work/$alias.p12" ] || {
		keytool -genkeypair -keystore "$work/$alias.p12" -storepass "$pass" -alias "$alias" -keyalg RSA -keysize 2048 \
			-startdate "$from" -validity $years -dname "CN=kvm1.example, OU=cloudstack, O=cloudstack, C=cloudstack"
		keytool -certreq -keystore "$work/$alias.p12" -storepass "$pass" -alias "$alias" -file "$work/csr"
		keytool -gencert -rfc -keystore "$work/ca.p12" -storepass "$pass" -alias root -infile "$work/csr" \
			-outfile "$work/crt" -startdate "$from" -validity $years -ext san=ip:10.1.1.1,dns:kvm1.example
		keytool -importcert -noprompt -keystore "$work/$alias.p12" -storepass "$pass" -alias cloudca.1 -file "$work/ca.crt"
		keytool -importcert -noprompt -keystore "$work/$alias.p12" -storepass "$pass" -alias "$alias" -file "$work/crt"
	}
	rm -f "$file"
	keytool -importkeystore -noprompt -srckeystore "$work/$alias.p12" -srcstorepass "$pass" -destkeystore "$file" \
		-deststorepass "$pass" -deststoretype "$type" "$@"
}

ca
store store_modern.p12 cloud PKCS12
store store_legacy.p12 cloud PKCS12 -J-Dkeystore.pkcs12.legacy
store store.jks cloud JKS
store store.jceks cloud JCEKS
store store_many_mac.p12 cloud PKCS12 -J-Dkeystore.pkcs12.macIterationCount=5000000
store store_many_key.p12 cloud PKCS12 -J-Dkeystore.pkcs12.keyPbeIterationCount=5000000
store store_many_cert.p12 cloud PKCS12 -J-Dkeystore.pkcs12.certPbeIterationCount=5000000
store store_no_mac.p12 cloud PKCS12 -J-Dkeystore.pkcs12.macAlgorithm=NONE
# One key under another alias is the agent's all the same.
store store_other_alias.p12 host PKCS12
# Two: "cloud" is the agent's; without that name nobody can say.
cp store_other_alias.p12 "$work/two.p12"
keytool -importkeystore -noprompt -srckeystore "$work/cloud.p12" -srcstorepass "$pass" -srcalias cloud -destkeystore "$work/two.p12" \
	-deststorepass "$pass" -deststoretype PKCS12
mv "$work/two.p12" store_two_keys.p12
cp store_two_keys.p12 "$work/two.p12"
keytool -changealias -keystore "$work/two.p12" -storepass "$pass" -alias cloud -destalias guest
mv "$work/two.p12" store_no_cloud.p12
cp store_modern.p12 "$work/part.p12"
keytool -delete -keystore "$work/part.p12" -storepass "$pass" -alias cloud
mv "$work/part.p12" store_no_key.p12
# The CA is in the chain of the key's entry as well: a self-signed key's store has none.
rm -f store_no_ca.p12
keytool -genkeypair -keystore store_no_ca.p12 -storepass "$pass" -alias cloud -keyalg RSA -keysize 2048 -startdate "$from" -validity $years \
	-dname CN=kvm1.example
cp store_modern.p12 "$work/other.p12"
keytool -storepasswd -keystore "$work/other.p12" -storepass "$pass" -new anotherPassphrase
mv "$work/other.p12" store_other_passphrase.p12
