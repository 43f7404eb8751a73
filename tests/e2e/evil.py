"""Certificates and requests of any shape, good and evil, byte by byte.

DER is written here and only signed by the `openssl` program, because no library makes what an attacker may send: control
characters in names, two identities, names by the thousand, a CA that isn't one.
"""
import base64
import hashlib
import itertools
import os
import subprocess
import time

# --- DER ----------------------------------------------------------------------


def der(tag, *parts):
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def sequence(*parts):
    return der(0x30, *parts)


def oid(text):
    numbers = [int(n) for n in text.split(".")]
    out = bytearray()
    for n in [numbers[0] * 40 + numbers[1], *numbers[2:]]:
        septets = [n & 0x7F]
        while n := n >> 7:
            septets.append(n & 0x7F | 0x80)
        out += bytes(reversed(septets))
    return der(6, bytes(out))


def integer(n):
    return der(2, n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True))


def bits(data):
    return der(3, b"\0", data)


def name(common_name):
    """Text, or bytes, which needn't be any: in a TeletexString, where OpenSSL doesn't look."""
    tag = 0x14 if isinstance(common_name, bytes) else 0x0C
    text = common_name if isinstance(common_name, bytes) else common_name.encode()
    return sequence(der(0x31, sequence(oid("2.5.4.3"), der(tag, text))))


def moment(seconds):
    return der(0x18, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def pem(what, data):
    text = base64.encodebytes(data).decode().replace("\n", "")
    lines = "\n".join(text[i:i + 64] for i in range(0, len(text), 64))
    return f"-----BEGIN {what}-----\n{lines}\n-----END {what}-----\n"


# --- extensions ---------------------------------------------------------------

CLIENT, SERVER, CODE = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.3"
YES = der(1, b"\xff")


def extension(number, value, critical=False):
    return sequence(oid(number), YES if critical else b"", der(4, value))


def basic_constraints(is_ca, path=None):
    return extension("2.5.29.19", sequence(YES if is_ca else b"", b"" if path is None else integer(path)), True)


def key_usage(*numbers):
    value = 0
    for n in numbers:
        value |= 0x80 >> n
    unused = 7 - max(numbers)
    return extension("2.5.29.15", der(3, bytes([unused, value])), True)


CA_USAGE = key_usage(5, 6)


def purposes(*oids):
    return extension("2.5.29.37", sequence(*map(oid, oids)))


def uri(text):
    return der(0x86, text if isinstance(text, bytes) else text.encode())


def dns(text):
    return der(0x82, text.encode())


def ip(text):
    return der(0x87, bytes(int(n) for n in text.split(".")))


def names(*entries):
    return extension("2.5.29.17", sequence(*entries))


def only_below(domain):
    """Name constraints: DNS names below this domain."""
    return extension("2.5.29.30", sequence(der(0xA0, sequence(dns(domain)))), True)


def identity(guid, *more):
    return names(uri(f"muster:agent:{guid}"), *more)


# --- keys and signatures ------------------------------------------------------

EC, RSA = "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.11"
SIGNATURES = {("ec", "sha256"): EC, ("ec", "sha1"): "1.2.840.10045.4.1", ("rsa", "sha256"): RSA,
              ("rsa", "sha1"): "1.2.840.113549.1.1.5", ("rsa", "md5"): "1.2.840.113549.1.1.4"}


def openssl(*arguments, data=None):
    run = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60)
    if run.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {run.stderr.decode(errors='replace')}")
    return run.stdout


class Key:
    """A private key in a file; `bits` 0: P-256, else RSA."""

    def __init__(self, path, n_bits=0):
        self.path, self.kind = path, "rsa" if n_bits else "ec"
        if n_bits:
            openssl("genrsa", "-out", path, n_bits)
        else:
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        self.public = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
        self.id = hashlib.sha1(self.public).digest()

    def algorithm(self, digest="sha256"):
        return sequence(oid(SIGNATURES[self.kind, digest]), der(5) if self.kind == "rsa" else b"")

    def sign(self, data, digest="sha256"):
        return openssl("dgst", f"-{digest}", "-sign", self.path, data=data)


class Ca:
    """A name and a key that sign; its certificate is DER in `der`."""

    serials = itertools.count(0x5EC0DE)

    def __init__(self, common_name, key, issuer=None, extensions=None, **fields):
        self.name, self.key = name(common_name), key
        issuer = issuer or self
        if extensions is None:
            extensions = [basic_constraints(True), CA_USAGE]
        self.der = issuer.certificate(common_name, key, extensions, **{"days": 3650, **fields})

    def certificate(self, common_name, key, extensions, *, days=30, start=-3600, digest="sha256", version=2, serial=None,
                    issuer_name=None, signer=None):
        """DER. `start` and the end of `days` count from now; `signer` signs in this CA's place."""
        now = int(time.time())
        signer = signer or self.key
        ids = [extension("2.5.29.14", der(4, key.id)), extension("2.5.29.35", sequence(der(0x80, self.key.id)))]
        body = sequence(
            der(0xA0, integer(version)) if version else b"",
            integer(next(self.serials) if serial is None else serial),
            signer.algorithm(digest),
            issuer_name or self.name,
            sequence(moment(now + start), moment(now + days * 86400)),
            name(common_name),
            key.public,
            der(0xA3, sequence(*extensions, *ids)) if version == 2 else b"")
        return sequence(body, signer.algorithm(digest), bits(signer.sign(body, digest)))


def request(key, common_name="evil", extensions=(), signer=None, broken=False):
    """A certificate request as PEM."""
    attributes = der(0xA0, sequence(oid("1.2.840.113549.1.9.14"), der(0x31, sequence(*extensions)))) if extensions else der(0xA0)
    body = sequence(integer(0), name(common_name), key.public, attributes)
    signature = bytearray((signer or key).sign(body))
    if broken:
        signature[-1] ^= 1
    return pem("CERTIFICATE REQUEST", sequence(body, key.algorithm(), bits(bytes(signature))))


class Workshop:
    """A folder of keys, and files that the ssl module can load."""

    def __init__(self, directory):
        self.dir, self.numbers, self.keys = directory, itertools.count(1), {}
        os.makedirs(directory, exist_ok=True)

    def path(self, ending):
        return os.path.join(self.dir, f"{next(self.numbers)}.{ending}")

    def key(self, n_bits=0, role="client"):
        """Made once for each use and size."""
        if (n_bits, role) not in self.keys:
            self.keys[n_bits, role] = Key(self.path("key"), n_bits)
        return self.keys[n_bits, role]

    def write(self, *ders, what="CERTIFICATE"):
        path = self.path("pem")
        with open(path, "w", encoding="ascii") as f:
            f.write("".join(pem(what, d) for d in ders))
        return path
