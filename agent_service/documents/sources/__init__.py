"""Where documents come from: a RunEngine, whoever posts them, or a facility's broker or catalogue.

Each is a `DocumentSource` (`protocols`) with a section of service.toml, and a line in the table of
`service.compose_sources`. Not here: what is done with documents (`documents`).
"""
