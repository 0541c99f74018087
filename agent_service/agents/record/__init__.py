"""Folds the facts of the journal into the state of an agent and of the service."""
