"""What the processes that do tasks have in common, on this machine and on others: errors, and one thread each."""

import errno

from vidboot.errors import UserError

# Errors of the disk that every other task would meet too.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


class TaskError(UserError):
    """A task that ended without a result, with the reason in words."""


def failure(error: Exception) -> TaskError:
    """What an error that no task foresees says about its job; raises what would befall every other job too."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        raise UserError(f"can't write: {error.strerror}; make room and run the same command again") from error
    if isinstance(error, UserError):
        raise error
    return TaskError(f"{type(error).__name__}: {error}")


def one_thread() -> None:
    """Each worker is one of many: threads of its own would only get in the others' way."""
    import cv2

    cv2.setNumThreads(1)
