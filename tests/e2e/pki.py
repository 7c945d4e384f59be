"""Certificates for a test, made with openssl: a root, a CA below it that issues everything, and their revocation lists.

    root -- issuing CA -- ks.crt, a.crt, ...        chains: a leaf and the issuing CA; root.crt is what is trusted
"""

import subprocess

KEYS = {"ecdsa": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]}
LONG_AGO = ("20200101000000Z", "20200201000000Z")

CONFIGURATION = """
[ca]
default_ca = own
[own]
dir = .
database = $dir/index.txt
new_certs_dir = $dir
crlnumber = $dir/crlnumber
rand_serial = yes
default_md = sha256
default_days = 30
default_crl_days = 30
unique_subject = no
policy = anything
[anything]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectAltName = DNS:{name}
"""


class Authority:
    """A CA of its own in a directory; `below` is the one that certifies it, or none."""

    def __init__(self, work, name, kind, below=None):
        work.mkdir()
        self.work, self.name, self.kind, self.below = work, name, kind, below
        (work / "index.txt").touch()
        (work / "crlnumber").write_text("01\n")
        self.key("ca")
        signed_by = ["-selfsign", "-keyfile", "ca.key"] if below is None else None
        self.request("ca", name)
        (below or self).certify(work / "ca.csr", work / "ca.crt", "authority", signed_by=signed_by)

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], cwd=self.work, check=True, capture_output=True, timeout=30)

    def key(self, name):
        self.openssl("genpkey", *KEYS[self.kind], "-out", f"{name}.key")
        (self.work / f"{name}.key").chmod(0o600)

    def request(self, file, name):
        self.config(name)
        self.openssl("req", "-new", "-config", "openssl.cnf", "-key", f"{file}.key", "-subj", f"/CN={name}", "-out", f"{file}.csr")

    def config(self, name):
        (self.work / "openssl.cnf").write_text(CONFIGURATION.replace("{name}", name))

    def certify(self, request, certificate, extensions, *, validity=None, signed_by=None):
        dates = ["-startdate", validity[0], "-enddate", validity[1]] if validity else []
        self.openssl("ca", "-batch", "-notext", "-config", "openssl.cnf", "-extensions", extensions, "-in", request,
                     "-out", certificate, *dates, *(signed_by or ["-cert", "ca.crt", "-keyfile", "ca.key"]))

    def issue(self, file, name, *, validity=None):
        """The chain and the key of a new certificate."""
        self.key(file)
        self.request(file, name)
        self.certify(f"{file}.csr", f"{file}.pem", "leaf", validity=validity)
        chain = self.work / f"{file}.crt"
        chain.write_text((self.work / f"{file}.pem").read_text() + (self.work / "ca.crt").read_text())
        return {"certificate": str(chain), "private_key": str(self.work / f"{file}.key")}

    def revoke(self, file):
        self.openssl("ca", "-config", "openssl.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-revoke", f"{file}.pem")

    def revocations(self, file="ca.crl"):
        """A list of what has been revoked so far."""
        self.openssl("ca", "-config", "openssl.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-gencrl", "-out", file)
        return str(self.work / file)

    def certificate(self):
        return str(self.work / "ca.crt")


class Pki:
    """A root and an issuing CA; what those who believe in it are configured with."""

    def __init__(self, work, kind="ecdsa", owner="Example"):
        work.mkdir(exist_ok=True)
        self.root = Authority(work / "root", f"{owner} Root", kind)
        self.issuing = Authority(work / "issuing", f"{owner} Issuing CA", kind, below=self.root)

    def issue(self, file, name, **options):
        return self.issuing.issue(file, name, **options)

    def trust(self):
        """Configuration keys that trust the root, and know all that has been revoked."""
        return {"trust_anchors": self.root.certificate(), "crls": [self.root.revocations(), self.issuing.revocations()]}
