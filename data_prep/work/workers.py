"""What worker processes have in common, on this machine and on a cluster: errors, and one thread each."""

from vidboot.data.video import VideoError
from vidboot.errors import NO_ROOM, UserError


class TaskError(UserError):
    """A task that ended without a result; the message is the reason."""


def reason_of(error: UserError) -> str:
    """Why a job failed, without the file's name."""
    return error.reason if isinstance(error, VideoError) else str(error)


def too_long(seconds: float) -> TaskError:
    """The error of a task that reached its time limit."""
    return TaskError(f"took longer than {seconds / 60:g} minutes")


def failure(error: Exception) -> TaskError:
    """The `TaskError` for an unexpected error of one task; raises errors that all other tasks would get too."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        raise UserError(f"can't write: {error.strerror}; make room and run the same command again") from error
    if isinstance(error, UserError):
        raise error
    return TaskError(f"{type(error).__name__}: {error}")


def one_thread() -> None:
    """Use one thread: there is a worker for each core already."""
    import cv2

    cv2.setNumThreads(1)
