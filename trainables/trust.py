"""Files of others: opened only where they are regular files, and inside the folder that they are said to lie in."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def read_regular(path: str | Path, *, inside: Path | None = None) -> bytes:
    """A file's bytes. OSError where there is none, or something else: a pipe would be waited for, a device never ends.

    inside: a folder out of which the path must not lead, be it by a link.
    """
    if inside is not None and not Path(path).resolve().is_relative_to(inside.resolve()):
        raise OSError(errno.ELOOP, f"leads out of {inside}", str(path))
    # Opening a pipe waits for its other end, unless told not to.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.read()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. ValueError, naming it, where it cannot be read whole."""
    import safetensors.torch  # torch takes seconds, and whoever reads other files does not need it

    try:
        return safetensors.torch.load(read_regular(path))
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # safetensors has an error of its own that is no ValueError
        raise ValueError(f"the weights {path} are damaged ({error}); train or export that model again") from None
