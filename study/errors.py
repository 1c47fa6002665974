"""What the command line shows as one sentence."""


class StudyError(Exception):
    """A problem for the user to solve: says what was wrong, where, and what to do. Shown without a traceback."""
