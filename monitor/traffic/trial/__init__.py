"""Canaries: versions on trial, their steps, and their rollback.

:mod:`.machine` decides, as a pure function of observations. :mod:`.measure` compares both
arms. :mod:`.prechecks` decides whether a version may begin. :class:`.judge.Judge` looks
regularly and carries decisions out, and :mod:`.orders` takes the orders of people.
``docs/canaries.md`` has the table of states.
"""
