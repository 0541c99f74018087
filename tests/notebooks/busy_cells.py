# What the notebooks of these tests start with; LOG and GO are set before. Cells block until the test makes the file GO.
import ipywidgets


def note(line):
    with LOG.open("a") as file:  # noqa: F821
        file.write(f"{line}\n")


def blocks(line="cell"):
    note(f"{line}:begin")
    deadline = time.monotonic() + 30  # noqa: F821
    while not GO.exists() and time.monotonic() < deadline:  # noqa: F821
        time.sleep(0.05)  # noqa: F821
    note(f"{line}:end")


def plan(line="plan"):
    import bluesky.plan_stubs as bps

    note(f"{line}:begin")
    deadline = time.monotonic() + 30  # noqa: F821
    while not GO.exists() and time.monotonic() < deadline:  # noqa: F821
        yield from bps.checkpoint()
        yield from bps.sleep(0.05)
    note(f"{line}:end")


button = ipywidgets.Button(description="Press")
button.on_click(lambda _: note("pressed"))
