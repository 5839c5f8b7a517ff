"""Adapters that a cluster's operators declare: where their files are, and whose they are.

vLLM's production stack has ``LoraAdapter``, AIBrix ``ModelAdapter``, KServe the adapters of an
``LLMInferenceService``. Engines list the same adapters by name; only these resources know where the
files came from. Labels that begin with ``driftline/`` say which version it is, its owner, its tier,
and labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from monitor.kubernetes import Cluster, ClusterError, list_objects

_LOG: Final = structlog.get_logger(__name__)

PREFIX: Final = "driftline/"
"""Labels with it are for Driftline."""
FIXED: Final = ("adapter", "version", "owner", "tier")
"""Names of these labels that are no labels of the adapter but facts of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredAdapter:
    """An adapter by the name under which engines serve it.

    ``uri`` is where its files come from, as Driftline writes addresses; None if that is not told.
    ``alone`` is true unless its resource, and so its labels, are those of other adapters too.
    """

    name: str
    uri: str | None = None
    base: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    alone: bool = True

    @property
    def version(self) -> tuple[str, str] | None:
        """The adapter and the version that its labels name; None unless they name both."""
        adapter, version = self.labels.get("adapter"), self.labels.get("version")
        return (adapter, version) if self.alone and adapter and version else None

    @property
    def owner(self) -> str | None:
        return self.labels.get("owner")

    @property
    def tier(self) -> str | None:
        return self.labels.get("tier")

    @property
    def others(self) -> Mapping[str, str]:
        """The labels that are no facts of their own."""
        return {name: value for name, value in self.labels.items() if name not in FIXED}


class _Meta(msgspec.Struct):
    name: str
    labels: dict[str, str] | None = None


class _Source(msgspec.Struct):
    name: str = msgspec.field(name="adapterName")
    type: str
    path: str | None = msgspec.field(name="adapterPath", default=None)
    repository: str | None = None


class _StackSpec(msgspec.Struct):
    source: _Source = msgspec.field(name="adapterSource")
    base: str | None = msgspec.field(name="baseModel", default=None)


class _StackAdapter(msgspec.Struct):
    metadata: _Meta
    spec: _StackSpec

    def adapters(self) -> Iterator[DeclaredAdapter]:
        source = self.spec.source
        scheme = {"huggingface": "hf://", "s3": "s3://"}.get(source.type, "")
        yield DeclaredAdapter(
            name=source.name,
            uri=_uri(source.repository if scheme else source.path, scheme=scheme),
            base=self.spec.base,
            labels=_labels(self.metadata),
        )


class _BrixSpec(msgspec.Struct):
    url: str | None = msgspec.field(name="artifactURL", default=None)
    base: str | None = msgspec.field(name="baseModel", default=None)


class _BrixAdapter(msgspec.Struct):
    metadata: _Meta
    spec: _BrixSpec

    def adapters(self) -> Iterator[DeclaredAdapter]:
        yield DeclaredAdapter(
            name=self.metadata.name,
            uri=_uri(self.spec.url),
            base=self.spec.base,
            labels=_labels(self.metadata),
        )


class _ServedAdapter(msgspec.Struct):
    name: str
    uri: str | None = None


class _Lora(msgspec.Struct):
    adapters: list[_ServedAdapter] | None = None


class _Model(msgspec.Struct):
    name: str | None = None
    lora: _Lora | None = None


class _ServiceSpec(msgspec.Struct):
    model: _Model | None = None


class _InferenceService(msgspec.Struct):
    metadata: _Meta
    spec: _ServiceSpec

    def adapters(self) -> Iterator[DeclaredAdapter]:
        model = self.spec.model
        if model is None or model.lora is None:
            return
        for one in model.lora.adapters or ():
            yield DeclaredAdapter(
                name=one.name,
                uri=_uri(one.uri),
                base=model.name or self.metadata.name,
                labels=_labels(self.metadata),
                alone=False,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaringKind:
    """A kind of resource that declares adapters, with its versions, the newest first."""

    group: str
    resource: str
    versions: Sequence[str]
    decoder: msgspec.json.Decoder[Any]

    def listed(self, cluster: Cluster, namespace: str) -> list[bytes] | None:
        """Return a namespace's objects, each as JSON; None if the cluster has no such kind.

        Raises
        ------
        ClusterError
        """
        for version in self.versions:
            where = f"/apis/{self.group}/{version}/namespaces/{namespace}/{self.resource}"
            found = list_objects(cluster, where)
            if found is not None:
                return found
        return None


KINDS: Final = (
    DeclaringKind(
        group="production-stack.vllm.ai",
        resource="loraadapters",
        versions=("v1alpha1",),
        decoder=msgspec.json.Decoder(_StackAdapter),
    ),
    DeclaringKind(
        group="model.aibrix.ai",
        resource="modeladapters",
        versions=("v1alpha1",),
        decoder=msgspec.json.Decoder(_BrixAdapter),
    ),
    DeclaringKind(
        group="serving.kserve.io",
        resource="llminferenceservices",
        versions=("v1alpha2", "v1alpha1"),
        decoder=msgspec.json.Decoder(_InferenceService),
    ),
)

_SCHEMES: Final[Mapping[str, str]] = {"huggingface://": "hf://", "gcs://": "gs://"}
"""Other spellings of the same places."""


def _uri(place: str | None, *, scheme: str = "") -> str | None:
    """Return a place as Driftline writes it; None for none, or one of another scheme."""
    if not place:
        return None
    written = place if "://" in place or not scheme else f"{scheme}{place}"
    for other, own in _SCHEMES.items():
        if written.startswith(other):
            written = f"{own}{written.removeprefix(other)}"
    known = written.startswith(("hf://", "s3://", "gs://", "/"))
    return written if known else None


def _labels(metadata: _Meta) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in (metadata.labels or {}).items()
        if name.startswith(PREFIX) and name != PREFIX
    }


class Declarations:
    """Reads what some namespaces declare; what cannot be read is said once, and left out.

    ``whole`` is true unless the last reading had to leave a list out, which the next may not.
    """

    def __init__(
        self,
        namespaces: Sequence[str],
        *,
        cluster: Callable[[], Cluster] = lambda: Cluster.around(os.environ),
    ) -> None:
        self.namespaces = namespaces
        self._cluster = cluster
        self._said: set[str] = set()
        self.whole = True

    def read(self) -> Mapping[str, DeclaredAdapter]:
        """Return the declared adapters by name."""
        if not self.namespaces:
            return {}
        self.whole = True
        try:
            cluster = self._cluster()
        except ClusterError as error:
            self._left_out(str(error))
            return {}
        return {
            one.name: one
            for namespace in self.namespaces
            for kind in KINDS
            for one in self._of_kind(cluster, namespace, kind)
        }

    def _of_kind(
        self, cluster: Cluster, namespace: str, kind: DeclaringKind
    ) -> Iterator[DeclaredAdapter]:
        place = f"{kind.resource} of {kind.group} in {namespace}"
        try:
            found = kind.listed(cluster, namespace)
        except ClusterError as error:
            self._left_out(f"{place}: {error}")
            return
        for one in found or ():
            try:
                yield from kind.decoder.decode(one).adapters()
            except msgspec.MsgspecError as error:
                self._say(f"{place}: {error}")

    def _left_out(self, why: str) -> None:
        self.whole = False
        self._say(why)

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            _LOG.warning("declared_adapters_not_read", reason=what)
