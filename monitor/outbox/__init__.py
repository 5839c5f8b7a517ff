"""From a change of verdict to a message that somebody has received.

Three parts that meet only in tables: :func:`.record.record_observation` decides and writes inside
the evaluation's transaction, the :class:`.telling.OutboxLoop` lets go what has waited long enough
for others, or for a silence to end, and the :class:`.deliverer.Deliverer` sends. A crash between
them loses nothing; a crash while sending may send twice, under the same message id.
"""
