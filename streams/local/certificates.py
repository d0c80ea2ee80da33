"""A certificate authority of our own, for the local stack and for tests."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from streams.local.process import LOOPBACK

VALID: Final = timedelta(days=365)


class Authority:
    """Issues certificates for the loopback address; its own is `ca_file`."""

    def __init__(self, directory: Path) -> None:
        """Make a new key and certificate; everything is written to `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Redlane local authority")
        builder = _builder(name, name, self._key, VALID).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.ca_file = directory / "ca.pem"
        """PEM: what clients have to know."""
        self.ca_file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def issue(self, common_name: str, *, valid: timedelta = VALID) -> tuple[Path, Path]:
        """Return the files (PEM) of a new certificate and of its key.

        Args:
            common_name: whom it is for.
            valid: from now; negative for one that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ip_address(LOOPBACK))]
        )
        builder = _builder(_name(common_name), self._certificate.subject, key, valid)
        certificate = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        certificate_file = self._directory / f"{common_name}.pem"
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file = self._directory / f"{common_name}.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid) - timedelta(days=1))
        .not_valid_after(now + valid)
    )
