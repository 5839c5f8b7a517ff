"""Look at what models need: engines, the encoder, and the corpora of the perplexity probe."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Final

from monitor.addresses import BY_NAME, IN_CLUSTER, IN_FILE, EndpointsWanted
from monitor.config.corpora import read_corpora
from monitor.config.routing import engine_headers, inside_of, own_settings
from monitor.config.sections import Config
from monitor.daemon.checkup.diagnosis import Diagnosis, fault, fine, note
from monitor.daemon.parts import embedder_of
from monitor.engine_addresses import NO_ADDRESS, EngineAddresses
from monitor.kubernetes import Cluster, ClusterError, EndpointWatch, ListingForbidden
from monitor.probes.cards import list_models
from monitor.probes.declared import KINDS, DeclaringKind
from monitor.probes.embedding import EmbeddingSettings
from monitor.probes.errors import ModelMissing, ProbeError, ProbeFailed, extra_missing
from monitor.probes.models import is_local, locate

ENGINES_AT_ONCE: Final = 8
ENCODER_MODULES: Final = ("torch", "sentence_transformers")
"""Modules that an encoder on this machine needs, of the extra `probes`."""
_WITHOUT_MODELS: Final = (
    "install it, or name an endpoint in probes.embedding.url; prompts wait until then, and new"
    " topics are not seen"
)


def check_corpora(config: Config) -> Iterator[Diagnosis]:
    """Say which corpora cannot be read."""
    for key, problem in read_corpora(config).problems.items():
        yield fault("corpora", f"{key}: {problem}")


def check_engines(config: Config) -> Iterator[Diagnosis]:
    """Ask every engine that is named for its models."""
    part, written = "engines", (*config.serving.engines, *config.gateway.upstreams)
    written += getattr(own_settings(config.routing), "engines", ())
    if not written:
        yield note(
            part,
            "none is named, so nobody sees whether adapters are applied",
            "name them in serving.engines",
        )
        return
    addresses: dict[str, None] = {}
    for one in dict.fromkeys(written):
        try:
            engines = EngineAddresses(_endpoints(one))
            found = engines.now()
        except ClusterError as error:
            yield fault("cluster", f"{one}: {error}", _ACCOUNT)
            continue
        if one.startswith(IN_CLUSTER):
            told = f"the service account may follow its endpoints, {len(found)} ready"
            yield fine("cluster", f"{one}: {told}")
        reason = engines.fault_of(one)
        if not found:
            yield fault(part, f"{one}: {reason or NO_ADDRESS}", _way_in(one))
        elif reason:
            yield note(part, f"{one}: {reason}")
        addresses |= dict.fromkeys(found)
    with ThreadPoolExecutor(ENGINES_AT_ONCE) as pool:
        yield from pool.map(partial(_engine, config=config), addresses)


def _endpoints(written: str) -> Sequence[str]:
    """Ask the cluster for its ready endpoints, once, as this process's service account may."""
    if not written.startswith(IN_CLUSTER):
        return [written]
    return EndpointWatch(EndpointsWanted.of(written), Cluster.around(os.environ)).look()


def _way_in(written: str) -> str:
    """Say what makes a list give addresses."""
    if written.startswith(IN_FILE):
        return "write the engines' addresses into it, one a line"
    if written.startswith(BY_NAME):
        return "let this machine's name server list the engines: docs/connecting/vllm.md"
    return "start a pod, and let its readiness probe pass"


_ACCOUNT: Final = (
    "run in a pod whose service account may list and watch endpointslices:"
    " docs/connecting/vllm.md#replicas-that-come-and-go"
)


_APPEAR: Final = "docs/connecting/vllm.md#adapters-that-appear"


def check_declared(config: Config) -> Iterator[Diagnosis]:
    """Try the service account on each kind of resource that may declare adapters."""
    namespaces = config.serving.declared_in
    if not namespaces:
        return
    try:
        cluster = Cluster.around(os.environ)
    except ClusterError as error:
        advice = f"run in a pod with a service account: {_APPEAR}"
        yield fault("cluster", f"serving.declared_in: {error}", advice)
        return
    for namespace in namespaces:
        for kind in KINDS:
            yield _declaring(kind, cluster, namespace)


def _declaring(kind: DeclaringKind, cluster: Cluster, namespace: str) -> Diagnosis:
    try:
        found = kind.listed(cluster, namespace)
    except ListingForbidden:
        return fault(
            "cluster",
            f"its service account may not list {kind.resource} in {namespace}",
            f"add to its Role there: apiGroups [{kind.group}], resources [{kind.resource}],"
            f" verbs [list]: {_APPEAR}",
        )
    except ClusterError as error:
        return fault("cluster", f"{kind.resource} in {namespace}: {error}")
    if found is None:
        return fine("cluster", f"{kind.resource} in {namespace}: the cluster has no such kind")
    return fine("cluster", f"{kind.resource} in {namespace}: {len(found)} are listed")


def _engine(address: str, *, config: Config) -> Diagnosis:
    try:
        cards = list_models(address, http=inside_of(config), headers=engine_headers(config))
    except ProbeFailed as error:
        return fault("engines", f"{address}: {error}")
    adapters = sum(card.parent is not None for card in cards)
    return fine(
        "engines",
        f"{address}: {len(cards)} models" + (f", {adapters} of them adapters" if adapters else ""),
    )


def check_encoder(config: Config) -> Iterator[Diagnosis]:
    """Look whether the model can be loaded here, or ask its endpoint; no model is loaded."""
    part, chosen = "encoder", config.probes.embedding
    if not config.capture.embed_prompts:
        yield note(part, "off, so new topics are not seen", "set capture.embed_prompts")
        return
    if chosen.url:
        yield _remote_encoder(config)
        return
    if absent := next((one for one in ENCODER_MODULES if find_spec(one) is None), None):
        by_default = chosen.model == EmbeddingSettings().model
        said = str(extra_missing(chosen.model, absent))
        yield (note if by_default else fault)(part, said, _WITHOUT_MODELS)
        return
    if not is_local(chosen.model):
        yield fine(part, f"{chosen.model}, from the hub's cache or the hub")
        return
    try:
        yield fine(part, f"{chosen.model}: its files are in {locate(chosen.model)}")
    except ModelMissing as error:
        yield fault(part, str(error))


def _remote_encoder(config: Config) -> Diagnosis:
    client = embedder_of(config)
    try:
        vectors = client.embed(["Is this encoder at hand?"])
    except ProbeError as error:
        return fault("encoder", f"{config.probes.embedding.url}: {error}")
    finally:
        client.close()
    return fine("encoder", f"{config.probes.embedding.url}: {vectors.shape[1]} numbers a text")
