"""A version on trial: how far it may go, and when it goes back.

:mod:`.machine` decides, a pure function of what was seen; :mod:`.measure` compares both arms;
:mod:`.prechecks` says whether it may begin; :class:`.judge.Judge` looks regularly and carries
out, and :mod:`.orders` is what people ask for. ``docs/canaries.md`` has the table.
"""
