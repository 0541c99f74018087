"""Agents of bluesky-adaptive 0.x, as a site's start-up script makes them: agents of the service, by a RunEngine."""

from __future__ import annotations

import httpx
import pytest
from services import wait_until
from test_startup_scripts import Site

from agent_service.client import Client
from agent_service.service.keys import KeyFile, Scope

BEAMLINE = """
    from bluesky.plans import count, list_scan
    from ophyd.sim import det, motor
"""
SERVICE = """
    [service]
    port = 0
    catalog = "none"
    [run_engine]
    startup = "site_beamline.py"
"""
SCRIPT = """
    from bluesky_adaptive.agents.base import Agent, AgentConsumer
    from bluesky_adaptive.agents.simple import SequentialAgentBase
    from bluesky_adaptive.server import register_variable, shutdown_decorator, startup_decorator

    class Beamline:
        measured = []

        def measurement_plan(self, point):
            self.measured.append(point)
            return "list_scan", [["det"], "motor", [float(point)]], {"md": {"purpose": "walk"}}

        @staticmethod
        def unpack_run(run):
            return run.primary.read()["motor"].values[0], run["primary"]["det"][0]

    class Walker(Beamline, SequentialAgentBase):
        name = "walker"

    class Listener(Agent):
        name = "listener"

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.seen = []

        def server_registrations(self):
            self._register_method("report_of_listener", "generate_report")

        @staticmethod
        def trigger_condition(uid):
            return True

        def measurement_plan(self, point):
            raise NotImplementedError

        def unpack_run(self, run):
            assert run.start["purpose"] == "walk"
            return run.start["scan_id"], run.primary.data["det"]

        def tell(self, x, y):
            self.seen.append([x, list(y)])
            return {"x": x}

        def report(self, **kwargs):
            return {"seen": len(self.seen), **kwargs}

    nodes = dict(tiled_data_node=None, tiled_agent_node=None, qserver=object(), kafka_producer=None)
    consumer = AgentConsumer(topics=["a"], bootstrap_servers="b:9092", group_id="c", consumer_config={})
    walker = Walker(sequence=[1.0, 2.0, 3.0, 4.0, 5.0], kafka_consumer=consumer, suggest_on_ingest=False, **nodes)
    listener = Listener(kafka_consumer=consumer, agent_run_suffix="one", **nodes)

    @startup_decorator
    def begin():
        listener.start()
        walker.start()

    @shutdown_decorator
    def end():
        walker.stop()
        listener.stop()

    register_variable("told", getter=lambda: [walker.independent_cache, walker.observable_cache])
    register_variable("seen", getter=lambda: listener.seen)
"""


@pytest.fixture
def site(command):
    made = Site(command)
    made.write("site_beamline.py", BEAMLINE)
    made.write("service.toml", SERVICE)
    made.write("site.py", SCRIPT)
    yield made
    made.close()


def test_its_agents_suggest_measure_listen_and_come_back_with_what_they_knew(site):
    site.serve("service.toml", "--legacy", "site.py")
    with Client.from_state(site.command.folder / "service.state") as client:
        assert {agent.name: str(agent.state) for agent in client.agents()} == {
            "walker": "running",
            "listener-one": "running",
        }
        assert site.get("told") == [[], []]  # nobody asked it for anything
        status, _, uid, about = site.set("add_suggestions_to_queue", [[2], {}])
        assert (status, about["task_uid"]) == ("accepted", uid)
        wait_until(lambda: len(site.get("told")[0]) == 2)  # each point of the batch
        wait_until(lambda: [x for x, _ in site.get("seen")] == [1, 2])  # which listens to the other's runs
        first = next(one for one in client.suggestions("walker") if one.point == {"x": 1.0})
        assert first.state == "ingested"
        assert first.outcome["measured_x"] == 1.0
        assert site.set("suggest_on_ingest", True) is True  # the setter says nothing, the getter what it is
        site.set("add_suggestions_to_queue", [[1], {}])
        wait_until(lambda: len(site.get("told")[0]) == 5)  # one after the other, to the end of the sequence
        assert site.get("told")[0] == [1.0, 2.0, 3.0, 4.0, 5.0]
        site.set("report_of_listener", [[], {"extra": 1}])
        wait_until(lambda: list(client.reports("listener-one")))
        assert next(iter(client.reports("listener-one"))).report["extra"] == 1
        told, seen = site.get("told"), wait_until(lambda: len(site.get("seen")) == 5 and site.get("seen"))
    site.process.kill()
    site.process.communicate()
    site.serve("service.toml", "--legacy", "site.py")
    assert site.get("told") == told
    assert site.get("seen") == seen
    with Client.from_state(site.command.folder / "service.state") as client:
        client.stop("walker")
        client.start("walker")
        assert site.get("told") == told  # the same object: told nothing twice
        assert client.agent("walker").counts.ingested == 5
    assert site.command.stop(site.process)[0] == 0


def test_points_of_one_that_does_not_go_to_the_queue_wait_for_a_person(site):
    text = (site.command.folder / "site.py").read_text()
    site.write("site.py", text.replace("suggest_on_ingest=False", "direct_to_queue=False"))
    site.serve("service.toml", "--legacy", "site.py")
    with Client.from_state(site.command.folder / "service.state") as client:
        site.set("add_suggestions_to_queue", [[1], {}])
        wait_until(lambda: len(site.get("told")[0]) == 1)  # asked for by name, it is measured
        waiting = wait_until(
            lambda: list(client.suggestions("walker", state="proposed"))
        )  # what it asks for then is not
        assert [one.point for one in waiting] == [{"x": 2.0}]
        client.approve(waiting[0].id)
        wait_until(lambda: len(site.get("told")[0]) == 2)
    site.command.stop(site.process)


def test_what_a_variable_asks_for_is_approved_by_nobody_who_may_not(site):
    site.write(
        "service.toml",
        SERVICE + '    [guardrails]\n    approval = "required"\n    [security]\n    variables = "loopback"\n',
    )
    site.write(
        "site.py",
        SCRIPT
        + """
    register_variable("free", setter=lambda value: walker.enable_direct_to_queue())
    """,
    )
    site.serve("service.toml", "--legacy", "site.py")
    state = site.command.folder / "service.state"
    _, program = KeyFile(state / "keys.jsonl").create("program", [Scope.READ, Scope.CONTROL])
    _, person = KeyFile(state / "keys.jsonl").create("anna", [Scope.READ, Scope.CONTROL, Scope.APPROVE])

    def ask(secret, name="add_suggestions_to_queue"):
        headers = {} if secret is None else {"Authorization": f"Apikey {secret}"}
        url = f"{site.http.base_url}/api/variable/{name}"
        return httpx.post(url, json={"value": [[1], {}]}, headers=headers, timeout=30)

    with Client.from_state(state) as client:
        for number, secret in enumerate((None, program), start=1):
            assert ask(secret).status_code == 200
            waiting = wait_until(lambda n=number: (found := client.suggestions("walker")) and len(found) == n and found)
            assert {str(one.state) for one in waiting} == {"proposed"}
            refused = ask(secret, "free")
            assert refused.status_code == 400
            assert "is a person's word" in refused.json()["detail"]
        assert ask(person, "free").status_code == 200
        assert ask(person).status_code == 200
        wait_until(lambda: site.get("told")[0] == [3.0])
        approvals = [event.data for event in client.history("walker") if event.data.get("state") == "approved"]
        assert [(fact.get("by"), fact.get("word")) for fact in approvals] == [("anna", True)]
        assert len(client.suggestions("walker", state="proposed")) == 2
    site.command.stop(site.process)


def test_where_no_approval_is_asked_for_the_loop_approves_and_no_person_is_said_to_have(site):
    site.serve("service.toml", "--legacy", "site.py")
    state = site.command.folder / "service.state"
    _, program = KeyFile(state / "keys.jsonl").create("program", [Scope.READ, Scope.CONTROL])
    site.http.headers["Authorization"] = f"Apikey {program}"
    site.set("add_suggestions_to_queue", [[1], {}])
    wait_until(lambda: site.get("told")[0] == [1.0])
    with Client.from_state(state) as client:
        approvals = [event.data for event in client.history("walker") if event.data.get("state") == "approved"]
        assert [(fact.get("by"), fact.get("word")) for fact in approvals] == [(None, None)]
        site.set("report_on_ingest", True)
        site.set("report_of_listener", [[], {}])
        site.set("ingest_uids", [["no such run"], {}])
        wait_until(lambda: client.reports("listener-one"))
        (report,) = (event for event in client.history("listener-one") if event.kind == "report")
        (config,) = (event for event in client.history("walker") if "loop" in event.data)
        assert (report.data["by"], config.data["by"]) == ("program", "program")  # and not the owner
    site.command.stop(site.process)


def test_points_for_an_adjudicator_wait_also_when_it_asks_for_them_while_it_is_called(site):
    asking = """
    class Walker(Beamline, SequentialAgentBase):
        name = "walker"

        def ingest(self, x, y):
            if x == 1.0:
                self.generate_suggestions_for_adjudicator(2)
                self.add_suggestions_to_queue(1)
            return super().ingest(x, y)
"""
    site.write(
        "site.py",
        SCRIPT.replace(
            """
    class Walker(Beamline, SequentialAgentBase):
        name = "walker"
""",
            asking,
        ),
    )
    site.serve("service.toml", "--legacy", "site.py")
    with Client.from_state(site.command.folder / "service.state") as client:
        site.set("add_suggestions_to_queue", [[1], {}])
        wait_until(lambda: site.get("told")[0] == [1.0, 4.0])
        assert {one.point["x"] for one in client.suggestions("walker", state="proposed")} == {2.0, 3.0}
    site.command.stop(site.process)
