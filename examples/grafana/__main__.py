"""``python -m examples.grafana``: write the dashboards anew."""

from __future__ import annotations

from pathlib import Path

from examples.grafana.dashboards import dashboards, written


def main() -> None:
    """Write each dashboard beside this file."""
    for name, dashboard in dashboards().items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(written(dashboard), encoding="utf-8")
        print(f"{path.name}: {len(dashboard.build().panels or [])} panels")


if __name__ == "__main__":
    main()
