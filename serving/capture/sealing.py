"""Encryption of capture files: AES-256-GCM in chunks, so that a torn file is readable up to the tear.

A file is `SWC1 | nonce of 12 bytes | data key, sealed | chunks`, and a chunk is `length u32, big endian |
sealed lines`. Each file has a data key of its own, drawn at random and sealed with the owner's key; chunks
use their number as nonce, so one that is moved, repeated or taken from another file does not open. A cut
between two chunks cannot be told from a file that ended there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

from serving.capture.errors import CaptureUnreadable

MAGIC = b"SWC1"
SUFFIX = ".enc"
"""What the names of encrypted files end with."""

_LENGTH = struct.Struct(">I")
_NONCE, _TAG, _KEY = 12, 16, 32
_HEAD = len(MAGIC) + _NONCE + _KEY + _TAG


class Sealer:
    """Seals the chunks of one file.

    Args:
        key: the owner's key, 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        own = os.urandom(_KEY)
        nonce = os.urandom(_NONCE)
        self.head = MAGIC + nonce + AESGCM(key).encrypt(nonce, own, MAGIC)
        """What the file begins with."""
        self._cipher = AESGCM(own)
        self._number = 0

    def seal(self, data: bytes) -> bytes:
        """The next chunk."""
        sealed = self._cipher.encrypt(_nonce(self._number), data, MAGIC)
        self._number += 1
        return _LENGTH.pack(len(sealed)) + sealed


def unseal(file: IO[bytes], key: bytes, name: str) -> Iterator[bytes]:
    """The content of each complete chunk; a chunk that was cut off ends the file.

    Raises:
        CaptureUnreadable: the key is another one, or the file was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = file.read(_HEAD)
    if len(head) < _HEAD and MAGIC.startswith(head[: len(MAGIC)]):
        return
    if not head.startswith(MAGIC):
        raise CaptureUnreadable(f"{name} is no encrypted capture file")
    nonce, wrapped = head[len(MAGIC) : len(MAGIC) + _NONCE], head[len(MAGIC) + _NONCE :]
    try:
        cipher = AESGCM(AESGCM(key).decrypt(nonce, wrapped, MAGIC))
    except (InvalidTag, ValueError) as error:
        raise CaptureUnreadable(
            f"{name} was encrypted with another key; give the key it was written with"
        ) from error
    number = 0
    while (sealed := _chunk(file)) is not None:
        try:
            yield cipher.decrypt(_nonce(number), sealed, MAGIC)
        except InvalidTag as error:
            raise CaptureUnreadable(
                f"{name} was changed after it was written; restore it from a copy"
            ) from error
        number += 1


def whole(file: IO[bytes]) -> int:
    """The length of the part that ends with a complete chunk; 0 when there is none. No key is needed."""
    file.seek(0)
    if len(file.read(_HEAD)) < _HEAD:
        return 0
    end = _HEAD
    while (sealed := _chunk(file)) is not None:
        end += _LENGTH.size + len(sealed)
    return end if end > _HEAD else 0


def _chunk(file: IO[bytes]) -> bytes | None:
    size = file.read(_LENGTH.size)
    if len(size) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(size)
    sealed = file.read(length)
    return sealed if len(sealed) == length else None


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE, "big")
