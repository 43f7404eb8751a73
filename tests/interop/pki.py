"""Keys and certificates through the `openssl` command line tool (section 7).

The CA is what CloudStack's root CA plugin makes, and issued certificates are like
its own: no key usage, the requested names as SAN, valid from twelve hours ago.
"""

import contextlib
import datetime
import fcntl
import ipaddress
import re
import ssl
import subprocess
import tempfile
from pathlib import Path

CA_SUBJECT = "/CN=ca.cloudstack.apache.org"

_CONFIG = """
openssl_conf = init
[init]
stbl_section = strings
[strings]
C = max:64
[req]
distinguished_name = none
prompt = no
[none]
[ca]
default_ca = this
[this]
database = {directory}/index.txt
new_certs_dir = {directory}
certificate = {directory}/ca.crt
private_key = {directory}/ca.key
default_md = sha256
rand_serial = yes
unique_subject = no
email_in_dn = no
policy = anything
copy_extensions = none
[anything]
C = optional
O = optional
OU = optional
CN = optional
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
authorityKeyIdentifier = keyid,issuer:always
subjectKeyIdentifier = hash
subjectAltName = {sans}
"""


def openssl(*arguments, stdin=None):
    """Runs the tool; its standard output. An error carries what it complained about."""
    run = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {run.stderr.decode(errors='replace')}")
    return run.stdout.decode()


def san_text(names):
    """IP entries first, then DNS, without duplicates (7.5)."""
    kinds = {}
    for name in names:
        try:
            ipaddress.ip_address(name)
            kinds[f"IP:{name}"] = 0
        except ValueError:
            kinds[f"DNS:{name}"] = 1
    return ",".join(sorted(kinds, key=kinds.get))


def csr_sans(csr_path):
    text = openssl("req", "-in", csr_path, "-noout", "-text")
    return re.findall(r"(?:DNS|IP Address):([^,\s]+)", text)


def make_request(key_path, csr_path, common_name, names):
    """A key and a request as the keystore script makes them (7.6)."""
    config = Path(csr_path).with_suffix(".cnf")
    config.write_text(_CONFIG.format(directory=".", sans=san_text(names)))
    openssl("req", "-config", config, "-new", "-newhdr", "-newkey", "rsa:2048", "-noenc",
            "-keyout", key_path, "-out", csr_path, "-utf8", "-addext", f"subjectAltName={san_text(names)}",
            "-subj", f"/C=cloudstack/O=cloudstack/OU=cloudstack/CN={common_name}")
    config.unlink()
    for path in (key_path, csr_path):
        Path(path).chmod(0o600)


class CertificateAuthority:
    """A directory with ca.key and ca.crt; made when it is empty."""

    def __init__(self, directory, key_bits=4096):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.certificate = self.directory / "ca.crt"
        self.key = self.directory / "ca.key"
        with self._locked():
            if not self.certificate.exists():
                self._create(key_bits)

    @contextlib.contextmanager
    def _locked(self):
        """Several servers may share the directory; the tool's database can't."""
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _create(self, key_bits):
        (self.directory / "index.txt").touch()
        request = self.directory / "ca.csr"
        config = self._config("DNS:unused")
        openssl("req", "-config", config, "-new", "-newkey", f"rsa:{key_bits}", "-noenc",
                "-keyout", self.key, "-out", request, "-subj", CA_SUBJECT)
        self.key.chmod(0o600)
        openssl("ca", "-config", config, "-batch", "-notext", "-selfsign", "-extensions", "root",
                "-in", request, "-out", self.certificate, *_validity(30 * 365))

    def _config(self, sans):
        path = self.directory / "openssl.cnf"
        path.write_text(_CONFIG.format(directory=self.directory, sans=sans))
        return path

    def sign(self, csr_text, names, days=365, age=0.5):
        """PEM of a certificate for the request, its own SANs added to the given ones; `age` in days, too."""
        request, result = self.directory / "request.csr", self.directory / "issued.crt"
        with self._locked():
            request.write_text(csr_text)
            config = self._config(san_text([*names, *csr_sans(request)]))
            openssl("ca", "-config", config, "-batch", "-notext", "-extensions", "leaf",
                    "-in", request, "-out", result, *_validity(days, age))
            return result.read_text()

    def issue(self, certificate_path, address, names=(), days=365, age=0.5):
        """A certificate for an agent at an address; the key goes beside it (.key).

        CloudStack puts the private address into the SAN twice, as IP and as DNS;
        a DNS entry of that form can't come from here, the IP entry is what counts.
        """
        certificate = Path(certificate_path)
        key = certificate.with_suffix(".key")
        make_request(key, certificate.with_suffix(".csr"), address, [address, *names])
        certificate.write_text(self.sign(certificate.with_suffix(".csr").read_text(), [address, *names], days, age))
        return certificate, key


def _validity(days, age=0.5):
    now = datetime.datetime.now(datetime.timezone.utc)
    start, end = now - datetime.timedelta(days=age), now + datetime.timedelta(days=days)
    return "-startdate", start.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ")


def chain_is_trusted(chain, ca_path):
    """Java's rule: a chain to any certificate in the key store, no purpose, no name (1.3).

    The chain is DER, the peer's own certificate first.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as untrusted:
        untrusted.write("".join(map(ssl.DER_cert_to_PEM_cert, chain)))
        untrusted.flush()
        try:
            openssl("verify", "-purpose", "any", "-partial_chain", "-CAfile", ca_path,
                    "-untrusted", untrusted.name, untrusted.name)
        except RuntimeError:
            return False
    return True
