"""What the command line shows as one sentence."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a disk without room answers."""
FAILING = (errno.EIO, errno.EROFS, errno.ESTALE)
"""What a broken disk, one that the kernel has made read-only for that, and a lost network share answer."""


class StudyError(Exception):
    """A problem for the user to solve: says what was wrong, where, and what to do. Shown without a traceback."""
