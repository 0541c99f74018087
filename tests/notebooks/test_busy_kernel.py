"""Comm messages during a blocking cell, with each ipykernel that we serve; the front end is this test."""

import kernels
import pytest

INSTALL = "import notebook_widgets.kernel\ncontrol = notebook_widgets.kernel.install()"
RUN_ENGINE = "from bluesky import RunEngine\nRE = RunEngine({})"


@pytest.fixture
def kernel(request, tmp_path):
    with kernels.kernel(tmp_path, getattr(request, "param", None)) as running:
        yield running


def versions(*which):
    """Run a test with these ipykernel versions, None for the installed one; default: all that differ."""
    return pytest.mark.parametrize("kernel", which or (None, *kernels.VERSIONS), indirect=True, ids=str)


def prepared(kernel):
    """Install, make a button, and return its comm's id and the subshell that a front end would use for it."""
    kernel.run(INSTALL)
    return kernel.value("button.comm.comm_id"), kernel.subshell()


@versions(None, "7.3.0")
def test_a_button_pressed_while_a_cell_sleeps_runs_before_the_cell_ends(kernel):
    comm, subshell = prepared(kernel)
    cell = kernel.start("blocks()")
    kernel.until("cell:begin")
    kernel.press(comm, subshell)
    assert kernel.until("pressed") == ["cell:begin", "pressed"]
    kernel.go.touch()
    assert kernel.reply(cell)["content"]["status"] == "ok"
    assert kernel.lines() == ["cell:begin", "pressed", "cell:end"]


@versions()
def test_a_button_pressed_during_a_plan_runs_before_the_plan_ends(kernel):
    comm, subshell = prepared(kernel)
    # one cell imports bluesky, makes the RunEngine and runs the plan: nothing of ours could come in between
    cell = kernel.start(f"{RUN_ENGINE}\nRE(plan())\nnote('cell:end')")
    kernel.until("plan:begin")
    kernel.press(comm, subshell)
    assert kernel.until("pressed") == ["plan:begin", "pressed"]
    kernel.go.touch()
    assert kernel.reply(cell)["content"]["status"] == "ok"
    assert kernel.lines() == ["plan:begin", "pressed", "plan:end", "cell:end"]


@versions("6.31.0")
def test_the_cell_that_installs_it_may_run_the_plan(kernel):
    comm = kernel.value("button.comm.comm_id")
    kernel.start(f"{INSTALL}\n{RUN_ENGINE}\nRE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm)
    assert kernel.until("pressed") == ["plan:begin", "pressed"]
    kernel.go.touch()
    kernel.until("plan:end")


@versions()
def test_a_front_end_without_subshells_is_served_during_a_plan(kernel):
    comm, _ = prepared(kernel)
    kernel.run(RUN_ENGINE)
    kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.statuses()
    press = kernel.press(comm)
    assert kernel.until("pressed") == ["plan:begin", "pressed"]
    # the front end sends the next change of a widget when this one is done, and must still see the cell as running
    seen = kernel.statuses()
    assert [state for state, about in seen if about == press] == ["busy", "idle"]
    assert seen[-1][0] == "busy"
    assert seen[-1][1] != press
    kernel.go.touch()
    kernel.until("plan:end")


@versions()
def test_cells_queued_during_a_plan_run_afterwards_in_order_and_none_is_lost(kernel):
    comm, _ = prepared(kernel)
    kernel.run(RUN_ENGINE)
    cells = [kernel.start("RE(plan())\nblocks('rest')")]
    kernel.until("plan:begin")
    for number in range(5):
        cells.append(kernel.start(f"note('queued:{number}')"))
        kernel.press(comm)
    kernel.until("pressed", times=5)
    info = kernel.send("comm_info_request", {})
    kernel.go.touch()
    kernel.until("rest:end")
    cells.append(kernel.start("note('after')"))
    replies = {}
    while not replies.keys() >= {*cells, info}:
        message = kernel.client.get_shell_msg(timeout=kernels.WITHIN_S)
        replies[message["parent_header"]["msg_id"]] = message["msg_type"]
    assert replies[info] == "comm_info_reply"
    queued = [f"queued:{number}" for number in range(5)]
    ended = ["plan:end", "rest:begin", "rest:end"]
    assert kernel.lines() == ["plan:begin", *["pressed"] * 5, *ended, *queued, "after"]


@versions(None, "6.31.0")
def test_cells_queued_behind_one_that_fails_are_aborted_as_ever(kernel):
    prepared(kernel)
    kernel.run(RUN_ENGINE)
    failing = kernel.start("RE(plan())\nraise ValueError")
    kernel.until("plan:begin")
    queued = kernel.start("note('queued')")
    kernel.ask("kernel_info_request")
    kernel.go.touch()
    assert kernel.reply(failing)["content"]["status"] == "error"
    assert kernel.reply(queued)["content"]["status"] in {"aborted", "error"}
    kernel.run("note('alive')")
    assert "queued" not in kernel.lines()


@versions()
def test_an_interrupt_still_pauses_the_run_engine(kernel):
    comm, subshell = prepared(kernel)
    kernel.run(RUN_ENGINE)
    cell = kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm, subshell)
    kernel.until("pressed")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(cell)["content"]["ename"] == "RunEngineInterrupted"
    assert kernel.value("RE.state") == "paused"
    resumed = kernel.start("note('resumes')\nRE.resume()")
    kernel.until("resumes")
    kernel.press(comm, subshell)
    kernel.until("pressed", times=2)
    kernel.go.touch()
    assert kernel.reply(resumed)["content"]["status"] == "ok"
    assert "plan:end" in kernel.lines()


@versions(None, "6.31.0")
def test_a_button_can_pause_the_run_engine(kernel):
    comm, subshell = prepared(kernel)
    kernel.run(f"{RUN_ENGINE}\nbutton.on_click(lambda _: RE.request_pause())")
    cell = kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm, subshell)
    assert kernel.reply(cell)["content"]["ename"] == "RunEngineInterrupted"
    assert kernel.value("RE.state") == "paused"
    kernel.run("RE.abort()")


@versions(None, "6.31.0")
def test_a_callback_that_raises_ends_neither_the_wait_nor_the_plan(kernel):
    comm, _ = prepared(kernel)
    kernel.run(f"{RUN_ENGINE}\nbutton.on_click(lambda _: 1 / 0)")
    cell = kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm)
    kernel.press(comm)
    kernel.until("pressed", times=2)
    kernel.go.touch()
    assert kernel.reply(cell)["content"]["status"] == "ok"


@versions()
def test_everything_works_after_nest_asyncio(kernel):
    kernel.run("import nest_asyncio\nnest_asyncio.apply()")
    comm, subshell = prepared(kernel)
    kernel.run(RUN_ENGINE)
    kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm)
    kernel.until("pressed")
    if subshell is not None:
        kernel.press(comm, subshell)
        kernel.until("pressed", times=2)
    queued = kernel.start("note('queued')")
    kernel.go.touch()
    kernel.reply(queued)
    assert kernel.lines()[-2:] == ["plan:end", "queued"]


@versions()
def test_uninstalled_the_kernel_is_the_stock_one(kernel):
    kernel.run(RUN_ENGINE)
    stock = "(RE._during_task.block.__func__, getattr(type(button.comm), '_reply_subshell_for', None))"
    kernel.run(f"before = {stock}")
    comm, _ = prepared(kernel)
    assert kernel.value(f"before == {stock}") == "False"
    kernel.run("notebook_widgets.kernel.uninstall()\nnotebook_widgets.kernel.uninstall()")
    assert kernel.value(f"before == {stock}") == "True"
    kernel.start("RE(plan())")
    kernel.until("plan:begin")
    kernel.press(comm)
    kernel.go.touch()
    assert kernel.until("pressed") == ["plan:begin", "plan:end", "pressed"]


def test_uninstalled_a_sleeping_cell_blocks_buttons_again(kernel):
    comm, subshell = prepared(kernel)
    kernel.run("notebook_widgets.kernel.uninstall()")
    kernel.start("blocks()")
    kernel.until("cell:begin")
    kernel.press(comm, subshell)
    # what is sent to the subshell after the press runs in it: so the press did not go there
    after = {"code": "note('subshell')", "silent": True}
    kernel.send("execute_request", after, subshell)
    assert kernel.until("subshell") == ["cell:begin", "subshell"]
    kernel.go.touch()
    assert kernel.until("pressed") == ["cell:begin", "subshell", "cell:end", "pressed"]


def test_an_idle_kernel_and_an_awaiting_cell_handle_buttons_in_the_main_thread(kernel):
    """What ipykernel 7.4 repaired stays repaired: an awaiting cell is woken by the answer that it waits for."""
    comm, subshell = prepared(kernel)
    kernel.run(
        "import asyncio, threading\n"
        "def answer(_):\n"
        "    note(threading.current_thread() is threading.main_thread())\n"
        "    if waiting: waiting[0].set_result('answered')\n"
        "waiting = []\n"
        "button.on_click(answer)"
    )
    kernel.press(comm, subshell)
    kernel.until("True")
    cell = kernel.start("waiting.append(asyncio.Future())\nnote('waits')\nnote(await waiting[0])")
    kernel.until("waits")
    kernel.press(comm, subshell)
    kernel.until("answered")
    kernel.reply(cell)
    assert "False" not in kernel.lines()


def test_a_button_works_after_the_page_that_pressed_it_is_gone(kernel):
    comm, first = prepared(kernel)
    kernel.run("button.on_click(lambda b: setattr(b, 'description', 'again'))")
    kernel.start("blocks()")
    kernel.until("cell:begin")
    kernel.press(comm, first)  # its callback sends something on the comm, from the first page's subshell
    kernel.until("pressed")
    assert kernel.ask("delete_subshell_request", {"subshell_id": first})["status"] == "ok"
    second = kernel.subshell()
    kernel.press(comm, second)
    kernel.until("pressed", times=2)
    kernel.go.touch()
    kernel.until("cell:end")
    kernel.press(comm)
    kernel.until("pressed", times=3)


def test_installing_twice_is_installing_once(kernel):
    kernel.run(f"{RUN_ENGINE}\n{INSTALL}\nassert notebook_widgets.kernel.install(get_ipython()) is control")
    assert kernel.value("control.ways") == "('subshells', 'during_task')"
    kernel.run("control.restore()\ncontrol.restore()")
    assert kernel.value("control.ways") == "()"


def test_an_ipykernel_without_what_is_needed_is_left_alone(kernel):
    kernel.run("kernel = get_ipython().kernel\nfor name in ('comm_open', 'comm_msg'): del kernel.shell_handlers[name]")
    kernel.run("import ipykernel.comm.comm as c\nc.BaseComm._reply_subshell_for = lambda self, data: None")
    kernel.run(f"{RUN_ENGINE}\n{INSTALL}")
    assert kernel.value("control.ways") == "()"


def test_a_during_task_of_the_users_own_is_not_touched(kernel):
    kernel.run(INSTALL)
    kernel.run(
        "from bluesky import RunEngine\nfrom bluesky.utils import DuringTask\n"
        "class Mine(DuringTask):\n"
        "    def block(self, event):\n"
        "        note('mine')\n"
        "        event.wait()\n"
        "GO.touch()\nRunEngine({}, during_task=Mine())(plan())"
    )
    assert "mine" in kernel.lines()


def test_a_plan_run_outside_the_main_thread_waits_as_ever(kernel):
    kernel.run(INSTALL)
    kernel.run(
        "import threading\nfrom bluesky import RunEngine\nRE = RunEngine({}, context_managers=[])\n"
        "thread = threading.Thread(target=lambda: RE(plan()))\nthread.start()"
    )
    kernel.until("plan:begin")
    kernel.run("note('meanwhile')")
    kernel.go.touch()
    kernel.run("thread.join()")
    assert kernel.lines() == ["plan:begin", "meanwhile", "plan:end"]
