"""What all shapes have in common: one dataclass that is served, drawn on pages and read back."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, reduce
from operator import or_
from pkgutil import resolve_name
from typing import Any, ClassVar, Generic, Self, TypeVar, dataclass_transform

Item = TypeVar("Item")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class View:
    """One thing that people see; the text under a field describes it in ``/openapi.json``.

    Each class below it is a frozen dataclass with named arguments. JSON has neither NaN nor
    infinity: ``null`` stands for "not defined".
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def of(cls, source: object, /, **others: Any) -> Self:
        """Take the attributes of the same names from ``source``, and ``others`` as they are."""
        taken = [field.name for field in fields(cls) if field.name not in others]  # type: ignore[arg-type]  # it is one
        return cls(**{name: getattr(source, name) for name in taken}, **others)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        found = handler(schema)
        properties = handler.resolve_ref_schema(found)["properties"]
        for base in (one for one in reversed(cls.__mro__) if issubclass(one, View)):
            for name, text in _texts(base.__module__).get(base.__name__, {}).items():
                properties[name]["description"] = text
        return found


class Page(View, Generic[Item]):
    """One page of a list; `next` goes into `cursor` for the page after it."""

    items: Sequence[Item]
    next: str | None = None


class Words:
    """Which words a text may be, for ``/openapi.json``; ``module:Name`` is looked up there.

    Whoever reads an answer takes any word, one of a later release too.
    """

    def __init__(self, *known: Any) -> None:
        self.known = known

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        found = [resolve_name(one) if isinstance(one, str) else one for one in self.known]
        # written as it is: a plain text will do where one of the words is asked for
        return {**handler.generate_schema(reduce(or_, found)), "serialization": {"type": "any"}}


@cache
def _texts(module: str) -> Mapping[str, Mapping[str, str]]:
    """Read the text under each field, by class: Python itself does not keep it."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        one.name: {
            field.target.id: " ".join(str(text.value.value).split())
            for field, text in zip(one.body, one.body[1:], strict=False)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        }
        for one in tree.body
        if isinstance(one, ast.ClassDef)
    }
