"""Where documents come from: the RunEngine that a sink drives, one of this process, or whoever posts them."""
