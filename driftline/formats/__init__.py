"""Read lines of common logs as records; needs only the standard library.

A new form is one function and one entry in :data:`driftline.formats.lines.FORMS`.
"""

from driftline.formats.answers import answer_fields, request_fields
from driftline.formats.lines import Form, Mapped, Unreadable, form_of, read

__all__ = [
    "Form",
    "Mapped",
    "Unreadable",
    "answer_fields",
    "form_of",
    "read",
    "request_fields",
]
