"""Settings strata name no source and no default any more: old ones are rewritten alike."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_KNOWN = r"(temperature=|top_p=|max_tokens<=|logprobs=)"
_DEFAULTS = r"(^| )(temperature=1|top_p=1|logprobs=raw_logprobs)(?= |$)"


def _plain(column: str) -> str:
    """SQL of an old stratum in the new form; a source may hold blanks, settings follow it."""
    settings = rf"regexp_replace({column}, '^source=(.*?)(?= {_KNOWN}|$)', '')"
    return rf"btrim(regexp_replace({settings}, '{_DEFAULTS}', '', 'g'))"


def upgrade() -> None:
    _run(
        f"CREATE TEMPORARY TABLE plain ON COMMIT DROP AS"
        f" SELECT id, first_value(id) OVER (PARTITION BY source, arm, replica, engine, settings"
        f" ORDER BY id) AS kept, settings"
        f" FROM (SELECT *, {_plain('stratum')} AS settings FROM contexts) AS c"
    )
    # a default that some senders wrote and others left out made two contexts of one
    twins = op.get_bind().execute(sa.text("SELECT count(*) FROM plain WHERE id <> kept"))
    if twins.scalar_one():
        for table in ("records", "feedback_arrivals"):
            _run(
                f"UPDATE {table} AS t SET context_id = p.kept FROM plain AS p"
                " WHERE t.context_id = p.id AND p.id <> p.kept"
            )
    _run(
        "UPDATE contexts AS c SET stratum = p.settings FROM plain AS p"
        " WHERE c.id = p.id AND p.id = p.kept"
    )
    _run(
        'UPDATE "references" AS r SET strata = ARRAY(SELECT one FROM'
        f" (SELECT {_plain('old')} AS one, min(place) AS place"
        " FROM unnest(r.strata) WITH ORDINALITY AS u (old, place) GROUP BY 1) AS n"
        " ORDER BY place)"
    )


def downgrade() -> None:
    _run(
        'UPDATE "references" AS r SET strata = ARRAY('
        " SELECT concat_ws(' ', 'source=' || s.source, nullif(u.one, ''))"
        " FROM unnest(r.strata) WITH ORDINALITY AS u (one, place),"
        " (SELECT DISTINCT source FROM contexts) AS s ORDER BY u.place, s.source)"
    )
    _run(
        "UPDATE contexts SET stratum = concat_ws(' ', 'source=' || source, nullif(stratum, ''))"
        " WHERE NOT starts_with(stratum, 'source=')"
    )


def _run(statement: str) -> None:
    op.execute(sa.text(statement.replace(":", r"\:")))
