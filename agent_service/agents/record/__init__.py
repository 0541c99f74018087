"""What the facts of the journal mean: the state of an agent and of the service, folded from them."""
