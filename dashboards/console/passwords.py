"""Password hashes as text: ``scrypt$n$r$p$salt$hash``, by the standard library alone."""

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass

# OWASP's choice for scrypt with little memory: 32 MB and 50-100 ms a try.
_N, _R, _P = 2**15, 8, 1
_SALT_BYTES, _HASH_BYTES = 16, 32
_MOST_MEMORY = 256 << 20  # a hash in the settings must not let one login take the machine
_OVERHEAD = 1 << 20  # OpenSSL counts its own blocks, too


class PasswordError(Exception):
    """The text of a hash is not one we can check; the message never holds it."""


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash and how it was made."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        """Whether it is the password's; takes as long whatever the answer."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p, len(self.digest)), self.digest)


def hash_password(password: str) -> str:
    """The text for ``console.users``; another one at every call."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(password, salt, _N, _R, _P, _HASH_BYTES)
    return f"scrypt${_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def parse(text: str) -> Hash:
    """The hash of its text; PasswordError."""
    wrong = PasswordError("the hash is not scrypt$n$r$p$salt$hash; make one with flowtide console --hash")
    parts = text.split("$")
    if len(parts) != 6 or parts[0] != "scrypt" or not all(part.isascii() and part.isdecimal() for part in parts[1:4]):
        raise wrong
    n, r, p = (int(part) for part in parts[1:4])
    try:
        salt, digest = (b64decode(part, validate=True) for part in parts[4:])
    except binascii.Error:
        raise wrong from None
    if n < 2 or n & (n - 1) or not r or not p or len(salt) < 8 or len(digest) < 16:
        raise wrong
    if 128 * n * r * p > _MOST_MEMORY:
        raise PasswordError(f"the hash wants more than {_MOST_MEMORY >> 20} MB; make one with flowtide console --hash")
    return Hash(n, r, p, salt, digest)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    memory = 128 * r * (n + p + 2) + _OVERHEAD
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=size)
