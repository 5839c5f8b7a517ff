"""The dashboard: pages rendered here, refreshed by a small script, charts drawn here as SVG.

This process serves everything under a strict Content-Security-Policy: no inline script or
style, and no content from other sites. Text of users reaches a page only through the
templates' autoescape or ``textContent``.
"""

from monitor.web.pages import create_pages
from monitor.web.parts import WebParts

__all__ = ["WebParts", "create_pages"]
