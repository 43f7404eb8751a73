#!/usr/bin/env python3
"""Makes the files of this folder, see README.md. Run it here only to add one: the others change with each run."""
import datetime
import ipaddress
import os
import subprocess
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as EKU
from cryptography.x509.oid import NameOID

FROM = datetime.datetime(2024, 1, 1)
TO = datetime.datetime(2074, 1, 1)
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
PLAIN = serialization.NoEncryption()


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)


def write_key(name, key, kind=serialization.PrivateFormat.PKCS8):
    write(name, key.private_bytes(PEM, kind, PLAIN))


def subject(*names):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n) for n in names])


def pem(label, der):
    import base64
    text = base64.encodebytes(der).replace(b"\n", b"")
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, b"\n".join(lines), label)


def dns(*names):
    return x509.SubjectAlternativeName([x509.DNSName(n) for n in names])


def uris(*names):
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(n) for n in names])


def write_csr(name, key, names=("host-1",), extensions=()):
    b = x509.CertificateSigningRequestBuilder().subject_name(subject(*names))
    for e in extensions:
        b = b.add_extension(e, critical=False)
    csr = b.sign(key, hashes.SHA256())
    write(name, csr.public_bytes(PEM))
    return csr.public_bytes(DER)


def cert(key, ca_key, ca_name, names=("host-1",), extensions=(), serial=None, to=TO, start=FROM):
    b = x509.CertificateBuilder().subject_name(subject(*names)).issuer_name(ca_name).public_key(key.public_key())
    b = b.serial_number(serial or x509.random_serial_number() >> 96).not_valid_before(start).not_valid_after(to)
    for e, critical in extensions:
        b = b.add_extension(e, critical=critical)
    return b.sign(ca_key, hashes.SHA256())


def key_usage(**what):
    every = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                           "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(**{**every, **what})


def reference():
    ca_key = rsa.generate_private_key(65537, 2048)
    key = rsa.generate_private_key(65537, 2048)
    ca_name = subject("ca.cloudstack.apache.org")
    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = cert(ca_key, ca_key, ca_name, ("ca.cloudstack.apache.org",), [
        (x509.BasicConstraints(True, None), True), (key_usage(key_cert_sign=True, crl_sign=True), True), (ski, False)])
    aki = x509.AuthorityKeyIdentifier(ski.digest, [x509.DirectoryName(ca_name)], ca.serial_number)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    ip = x509.IPAddress(ipaddress.ip_address("10.1.1.21"))
    ip6 = x509.IPAddress(ipaddress.ip_address("2001:db8::15"))
    leaf = cert(key, ca_key, ca_name, ("kvm1.example.org",), [
        (aki, False), (own, False), (x509.SubjectAlternativeName(
            [ip, ip6, x509.DNSName("kvm1.example.org"), x509.DNSName("10.1.1.21")]), False)], serial=0x0a1b2c3d4e5f6071)
    server = cert(key, ca_key, ca_name, ("ms1",), [
        (aki, False), (own, False), (dns("ms1", "cloudstack.internal"), False)])
    by_leaf = cert(ec.generate_private_key(ec.SECP256R1()), key, leaf.subject, ("host-2",), [
        (x509.AuthorityKeyIdentifier(own.digest, None, None), False)])
    write("chain_by_leaf.pem", by_leaf.public_bytes(PEM) + leaf.public_bytes(PEM))
    write("encrypted.key", key.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                                             serialization.BestAvailableEncryption(b"vmops.com")))
    write_key("rsa.key", key)
    write_key("rsa_pkcs1.key", key, serialization.PrivateFormat.TraditionalOpenSSL)
    write_key("reference_ca.key", ca_key)
    for name, c in (("reference_ca", ca), ("reference_leaf", leaf), ("reference_server", server)):
        write(name + ".pem", c.public_bytes(PEM))


def keytool():
    with tempfile.TemporaryDirectory() as d:
        store = os.path.join(d, "cloud.jks")
        common = ["-alias", "cloud", "-keystore", store, "-storepass", "password"]
        subprocess.run(["keytool", "-genkeypair", *common, "-keyalg", "RSA", "-keysize", "2048", "-dname",
                        "cn=kvm1.example.org,ou=cloudstack,o=cloudstack,c=cloudstack"], check=True)
        subprocess.run(["keytool", "-certreq", *common, "-file", "keytool.csr", "-ext",
                        "san=ip:10.1.1.21,ip:2001:db8:0:0:0:0:0:15"], check=True)


def requests():
    key = ec.generate_private_key(ec.SECP256R1())
    write_csr("csr_wants_ca.pem", key, extensions=[x509.BasicConstraints(True, None)])
    write_csr("csr_wants_to_sign.pem", key, extensions=[key_usage(key_cert_sign=True)])
    write_csr("csr_newline.pem", key, ("host-1\nCN=root",))
    write_csr("csr_path.pem", key, ("../../etc/passwd",))
    write_csr("csr_backslash.pem", key, ("..\\host",))
    write_csr("csr_nul.pem", key, ("host-1\0.evil",))
    write_csr("csr_c1.pem", key, ("host-1\x9b31m",))
    write_csr("csr_two_names.pem", key, ("host-1", "host-2"))
    write_csr("csr_long_name.pem", key, ("a" * 64,))
    write_csr("csr_two_identities.pem", key, extensions=[uris("muster:agent:a", "muster:server:b")])
    write_csr("csr_bad_id.pem", key, extensions=[uris("muster:agent:../a")])
    write_csr("csr_no_id.pem", key, extensions=[uris("muster:agent:")])
    write_csr("csr_upper.pem", key, extensions=[uris("MUSTER:agent:a")])
    write_csr("csr_other_kind.pem", key, extensions=[uris("muster:root:a")])
    write_csr("csr_wildcard.pem", key, extensions=[dns("*.example.org")])
    write_csr("csr_rsa_1024.pem", rsa.generate_private_key(65537, 1024))
    write_csr("csr_p192.pem", ec.generate_private_key(ec.SECP192R1()))
    write_csr("csr_harmless.pem", key, extensions=[
        x509.BasicConstraints(False, None), key_usage(digital_signature=True),
        uris("https://example.org/", "muster:agent:a-1"), x509.ExtendedKeyUsage([EKU.SERVER_AUTH])])
    good = write_csr("csr_wrong_signature.pem", key, extensions=[dns("host-1")])
    write("csr_wrong_signature.pem", pem(b"CERTIFICATE REQUEST", good.replace(b"host-1", b"host-2")))
    doubled(key)
    huge()


def doubled(key):
    """Two extensions of one kind, signed as such: no library writes that."""
    b = x509.CertificateSigningRequestBuilder().subject_name(subject("host-1")).add_extension(dns("a.example"), False)
    b = b.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.18"),
                                                   dns("b.example").public_bytes()), False)
    info = b.sign(key, hashes.SHA256()).tbs_certrequest_bytes.replace(b"\x06\x03\x55\x1d\x12", b"\x06\x03\x55\x1d\x11")
    algorithm = tlv(0x30, bytes.fromhex("06082a8648ce3d040302"))
    signature = tlv(3, b"\0" + key.sign(info, ec.ECDSA(hashes.SHA256())))
    write("csr_doubled_names.pem", pem(b"CERTIFICATE REQUEST", tlv(0x30, info + algorithm + signature)))


def tlv(tag, body):
    n = len(body)
    size = bytes([n]) if n < 128 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + size + body


def huge():
    """An RSA key of 16384 bits, which nobody has: verifying its signature is all the work it is for."""
    oid = tlv(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    sha = tlv(0x30, bytes.fromhex("06092a864886f70d01010b0500"))
    number = tlv(2, b"\0" + b"\xff" * 2048)
    spki = tlv(0x30, oid + tlv(3, b"\0" + tlv(0x30, number + number)))
    info = tlv(0x30, tlv(2, b"\0") + subject("host-1").public_bytes() + spki + b"\xa0\0")
    write("csr_huge_key.pem", pem(b"CERTIFICATE REQUEST", tlv(0x30, info + sha + tlv(3, b"\0" + b"\x7f" * 2048))))


def certificates():
    key = ec.generate_private_key(ec.SECP256R1())
    name = subject("test")

    def put(file, *extensions, patch=None, **more):
        der = cert(key, key, name, extensions=[(e, False) for e in extensions], **more).public_bytes(DER)
        if patch:
            assert patch[0] in der and len(patch[0]) == len(patch[1])
            der = der.replace(*patch)
        write(file, pem(b"CERTIFICATE", der))

    put("cert_two_identities.pem", uris("muster:agent:a", "muster:agent:b"))
    put("cert_bad_id.pem", uris("muster:agent:a/b"))
    put("cert_nul_in_id.pem", uris("muster:agent:aXb"), patch=(b":aXb", b":a\0b"))
    put("cert_nul_in_dns.pem", dns("hostX.evil"), patch=(b"hostX.evil", b"host\0.evil"))
    put("cert_newline.pem", names=("host-1\nroot",))
    put("cert_doubled_names.pem", dns("a.example"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.18"), dns("b.example").public_bytes()),
        patch=(b"\x06\x03\x55\x1d\x12", b"\x06\x03\x55\x1d\x11"))
    put("cert_any_purpose.pem", x509.ExtendedKeyUsage([EKU.ANY_EXTENDED_KEY_USAGE]))
    put("cert_only_server.pem", x509.ExtendedKeyUsage([EKU.SERVER_AUTH]))
    put("cert_only_mail.pem", x509.ExtendedKeyUsage([EKU.EMAIL_PROTECTION]))
    put("cert_comma.pem", names=("Acme, Inc. / Root",))
    put("cert_serial_1.pem", serial=1)
    put("cert_serial_20.pem", serial=int("7f" + "00" * 18 + "01", 16))
    put("cert_mapped.pem", x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("::ffff:10.0.0.1"))]))
    put("cert_short_ip.pem", x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3005") + b"\x87\x03abc"))


if __name__ == "__main__":
    reference()
    keytool()
    requests()
    certificates()
