"""Read one whole incident: its facts, timeline, blame, actions and signals.

It is read in one place, so that the page, the API, the command line and the image that a message
links to show the same.
"""

from monitor.incident.chart import draw
from monitor.incident.chart_reading import read_chart
from monitor.incident.reading import IncidentStory, Member, read_story
from monitor.incident.signals import Chart
from monitor.incident.timeline import Moment

__all__ = ["Chart", "IncidentStory", "Member", "Moment", "draw", "read_chart", "read_story"]
