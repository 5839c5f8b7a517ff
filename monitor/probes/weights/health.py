"""The measurements of one module's update."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnitude:
    """The range of a DoRA magnitude vector's finite numbers."""

    lowest: float
    highest: float
    nonfinite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeTensor:
    """A tensor stored whole, beside the updates."""

    name: str
    nonfinite: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleHealth:
    """One module's update ``s B A``; numbers are None if not measurable.

    ``problem`` says why there is no update. ``base_norm`` is the Frobenius norm of the changed
    weight, in ``base_dtype``; both are None if the base is not at hand. ``parent_norm`` is the size
    of the parent's update of this module, ``parent_distance`` the distance from it.
    """

    module: str
    kind: str
    layer: int | None
    rank: int
    scale: float
    dtypes: tuple[str, ...]
    magnitude: Magnitude | None = None
    problem: str | None = None
    rows: int | None = None
    columns: int | None = None
    nonfinite: int = 0
    effective_rank: int | None = None
    entropy_rank: float | None = None
    energy_rank: int | None = None
    frobenius: float | None = None
    spectral: float | None = None
    base_norm: float | None = None
    base_dtype: str | None = None
    fits_base: bool | None = None
    parent_norm: float | None = None
    parent_distance: float | None = None

    @property
    def ratio(self) -> float | None:
        """``||s B A|| / ||W||``."""
        if self.frobenius is None or not self.base_norm:
            return None
        return self.frobenius / self.base_norm

    @property
    def changes_nothing(self) -> bool:
        return self.frobenius == 0.0

    @property
    def size(self) -> float | None:
        """The size compared across layers: the ratio, or the norm without a base."""
        return self.ratio if self.ratio is not None else self.frobenius
