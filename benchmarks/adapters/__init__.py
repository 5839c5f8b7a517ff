"""The benchmark of broken adapters: what goes wrong in production, and who notices.

``python -m benchmarks adapters`` plays each way to go wrong (:mod:`benchmarks.adapters.ways`)
once, on real models: a base that a Python package carries, adapters trained here on public
text, a vLLM (`make engine` installs it), Driftline's own daemon and gateway, and clients that
ask the gateway. Everything is kept in one folder; a run that was stopped goes on where it was.

==================== ==============================================================
``--into FOLDER``    where results and all that is made on the way are kept
                     (``build/adapters``)
``--cache FOLDER``   base and trained adapters, to be shared by runs (in ``--into``)
``--ways NAMES``     only these ways or families: ``weights,serving,new-topic-100``
``--adapters NAMES`` that take turns in being broken (all three; all are served)
``--quick``          the six ways that ``make engine`` plays, with a probe cycle of 25 s; only the
                     adapters of ``--adapters`` are watched
``--repeats N``      each way so often, on another adapter each time
``--model FOLDER``   another base of Llama's shape with a chat template: a Hugging Face folder
``--gpu``            the engine runs on a GPU
``--requests N``     requests of clients after the fault, at least (100)
``--seed N``         of questions, users and pauses
``--silence N``      resample healthy traffic so often, and count what fires
==================== ==============================================================

What an experiment is
    Three adapters (``bank``, ``concierge``, ``maths``), of two versions each, are served. The newer
    one is in charge, its reference of 420 records approved. Each experiment begins with the same
    stored state: references learned, probes registered, healthy live requests of each adapter seen
    (100, or as few as ``--requests``). 10 more healthy requests come, then the fault, which clients
    meet until it was paged and answered, or else until they have asked ``--requests`` times, all of
    that was looked at, and a probe that began after the fault was judged. Other detectors are given
    the same records. Divergence (``kl``) is measured beside the engine, with the same weights.

What is compressed
    Time. A window is 8 s, a probe cycle 45 s; the reference's records were answered within
    minutes and are stamped over 15 days; nothing else of the defaults differs but what
    ``driftline.toml`` of this folder says.

What is written
    ``run.json`` (``failed``: what the engine could not play, and why);
    ``baseline/<adapter>.jsonl``; for each way and repeat ``records.jsonl`` (what
    the version in charge answered, in order, ``broken`` beside each), ``truth.json`` and
    ``driftline.json``; ``silence.json``.
"""

from typing import Final

PACKAGED: Final = "SmolLM2-135M-Instruct"
"""The default base, which a package carries."""
