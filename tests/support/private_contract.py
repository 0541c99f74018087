"""A contract for import-linter: a module whose name begins with ``_`` is imported from within its room only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph


class PrivateContract(Contract):
    """Refuses imports of ``room._name`` from outside ``room``.

    Parameters
    ----------
    everybody
        Private modules that anybody may import.
    """

    type_name = "private"

    everybody = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return which imports break it."""
        found = []
        for imported in graph.modules:
            room = _room(imported)
            if room is None or imported in (self.everybody or ()):
                continue
            found += [
                f"{importer} imports {imported}"
                for importer in graph.find_modules_that_directly_import(imported)
                if importer != room and not importer.startswith(f"{room}.")
            ]
        return ContractCheck(kept=not found, metadata={"imports": sorted(found)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print them."""
        for line in check.metadata["imports"]:
            output.print_error(line)


def _room(module: str) -> str | None:
    """Return the package that a private module, or what it holds, belongs to."""
    parts = module.split(".")
    for depth, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            return ".".join(parts[:depth])
    return None
