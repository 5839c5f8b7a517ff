"""Dashboards for Grafana over Driftline's metrics."""
