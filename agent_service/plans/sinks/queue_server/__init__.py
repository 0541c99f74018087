"""Sink ``queueserver``: plans go to a facility's queue server, which owns the RunEngine and other people's plans.

`sink` is the sink, `driver` what it does in the background; `clients` speak 0MQ or HTTP to the manager. A plan is
handed over by ``queue_item_execute`` alone: that runs it now or refuses, starts nobody else's item and is never pushed
back.
Its answer proves nothing, so what became of a plan is always looked for: see `queued_plan`.
"""
