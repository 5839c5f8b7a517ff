"""Send an application's own calls as records: one line beside its ``openai`` client.

::

    client = watch(OpenAI(base_url="http://10.0.3.7:8000/v1"), url="http://driftline:8440", key=key)

It needs only the standard library, and never delays or breaks the application's calls.
"""

from driftline.client.calls import call_record
from driftline.client.sending import RecordSender
from driftline.client.watching import watch

__all__ = ["RecordSender", "call_record", "watch"]
