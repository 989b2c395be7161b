"""The boundary of the readers: whatever a library raises about a file becomes one InputError.

Libraries raise nearly anything on damaged bytes, and each version of them something else. Every adapter therefore calls
its library within `boundary`, and adds what it knows: the HDU, the line, the row.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from attn.core.errors import AttnError, InputError

LONGEST_REASON = 160  # characters


@contextmanager
def boundary(where: object, what: str, hint: str | None = None) -> Iterator[None]:
    """Run library calls: an AttnError passes, every other exception becomes `InputError(what (reason))`.

    where: the file, and the place in it. Rust's panics count as exceptions; Ctrl-C and the end of the process pass.
    """
    try:
        yield
    except AttnError:
        raise
    except MemoryError as error:
        raise InputError("does not fit in memory", where=str(where)) from error
    except Exception as error:
        raise InputError(f"{what} ({reason(error)})", where=str(where), hint=hint) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of polars, which derives it from BaseException
            raise
        raise InputError(f"{what} ({reason(error)})", where=str(where), hint=hint) from error


def reason(error: BaseException) -> str:
    """The first line of an exception's message, else its type; later lines are advice about the library's options."""
    text = getattr(error, "strerror", None) or str(error)
    line = next((line.strip() for line in str(text).splitlines() if line.strip()), type(error).__name__)
    return line[:LONGEST_REASON]
