"""Sink ``queueserver``: plans go to a facility's queue server, which owns the RunEngine and other people's plans.

`sink` is the sink, and `driver` its background work; `clients` speak 0MQ or HTTP to the manager. A plan is submitted
only by ``queue_item_execute``: that runs it now or refuses it, starts nobody else's item, and is never pushed back.
Its answer proves nothing, so the fate of a plan is always looked up: see `queued_plan`.
"""
