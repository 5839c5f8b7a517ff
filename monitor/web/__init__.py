"""The dashboard: pages rendered here, refreshed by a little script, charts by plotly.

Everything is served from this process under a strict Content-Security-Policy: no inline
script or style, nothing from elsewhere. Text of users reaches a page only through the
templates' autoescape or ``textContent``.
"""

from monitor.web.pages import create_pages
from monitor.web.parts import WebParts

__all__ = ["WebParts", "create_pages"]
