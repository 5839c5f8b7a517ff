"""Read lines of common logs as records; needs only the standard library.

A new form is one function and one entry in :data:`driftline.formats.lines.FORMS`.
"""
