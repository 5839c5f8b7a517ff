"""The schema, one module a noun. Migrations create it; ``alembic check`` keeps both equal.

Conventions: integer keys inside, names outside; ``timestamptz`` everywhere; no enum types in the
database (a new word must not need a table rewrite) but a CHECK where a wrong word would do harm;
partitioned tables are created empty here, their daily partitions by
:mod:`monitor.store.partitions`.
"""

from __future__ import annotations

from typing import Final

from monitor.store.tables.columns import metadata
from monitor.store.tables.evaluation import (
    coverage_days,
    evaluations,
    increments,
    latest_scores,
    process_states,
    scores,
    tasks,
    transitions,
    verdicts,
)
from monitor.store.tables.incidents import fleet_members, held, incidents, outbox, silences
from monitor.store.tables.models import (
    admissions,
    changes,
    identity_checks,
    perplexity_documents,
    perplexity_runs,
    reports,
    selftests,
    weight_inspections,
)
from monitor.store.tables.people import audit, keys
from monitor.store.tables.records import (
    answer_embeddings,
    capture_counts,
    contexts,
    feedback,
    feedback_arrivals,
    pending_texts,
    record_embeddings,
    record_texts,
    record_tokens,
    records,
    sampling_rates,
    terms,
)
from monitor.store.tables.references import (
    reference_axes,
    reference_baselines,
    reference_bins,
    reference_calibrations,
    reference_items,
    reference_vectors,
    references,
    settings_calibrations,
    settings_references,
)
from monitor.store.tables.registry import adapters, versions
from monitor.store.tables.traffic import (
    actions,
    canaries,
    canary_looks,
    flags,
    pending_decisions,
    retrainings,
    route_epochs,
    route_failures,
    route_history,
    route_refusals,
    routes,
    trainings,
)

PARTITIONED: Final = (
    "records",
    "record_tokens",
    "record_embeddings",
    "answer_embeddings",
    "record_texts",
    "feedback",
    "scores",
    "increments",
)
"""Tables cut into daily partitions by ``at`` (UTC days)."""
