"""What is in the catalogue beside what a plain subscriber of the RunEngine saw, with a real Tiled child."""

import asyncio
import json
import math
import os
import subprocess
import sys

import pytest
from archive_rig import ask, run_engine
from bluesky.plans import count
from comparison import Witness, differences
from drawn import Device, devices
from hypothesis import HealthCheck, given, settings
from test_archive import WITHIN_S, rig, started

DOCUMENTS = "{uid: [[name, dict(doc)] for name, doc in runs[uid].documents()] for uid in %r}"
VALUES = "{name: one.values.tolist() for name, one in runs[-1]['primary'].read().items()}"


def draw_runs(write, *, examples):
    """Make runs of devices drawn at random, and return what was seen of them."""
    witness = Witness()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(devices())
    def measure(device):
        engine(count([device], num=device.events))

    with run_engine() as engine:
        engine.subscribe(witness)
        engine.subscribe(write)
        measure()
    return witness


@pytest.mark.long
async def test_devices_of_any_name_and_value_are_read_back_field_by_field(tmp_path):
    async with rig(tmp_path / "state") as one:
        seen = draw_runs(one.spool.write, examples=40)
        async with started(one.archive()) as archive:
            await archive.drained(0, 4 * WITHIN_S)
            reasons = [path.with_suffix(".reason").read_text() for path in one.spool.refused()]
            assert reasons == []
            (read,) = ask(one.state.path, DOCUMENTS % list(seen.runs))
            found = {uid: differences(documents, read[uid]) for uid, documents in seen.runs.items()}
            assert {uid: lines for uid, lines in found.items() if lines} == {}
            sample = next(iter(seen.runs))  # what the service asks for itself is the same
            assert differences(seen.runs[sample], await archive.documents(sample)) == []


def device():
    found = {
        "2theta": ({"dtype": "number", "shape": [], "source": "s", "units": "deg"}, [1.5, 2.5]),
        "image": ({"dtype": "array", "shape": [2, 2], "source": "s", "units": "counts"}, [[[1, 2], [3, 4]]] * 2),
        "trace": ({"dtype": "array", "shape": [None], "source": "s"}, [[1.0], [2.0, 3.0]]),
        "time": ({"dtype": "integer", "shape": [], "source": "s"}, [2**60 + 1, 5]),
        "note": ({"dtype": "number", "shape": [], "source": "s"}, ["none", 2.5]),
    }
    return Device("stage 1", found, {}, 2)


async def test_a_dataset_has_the_true_names_arrays_and_units(tmp_path):
    async with rig(tmp_path / "state") as one:
        with run_engine() as engine:
            engine.subscribe(one.spool.write)
            (uid,) = engine(count([device()], num=2))
        async with started(one.archive()) as archive:
            await archive.wait_for(uid, WITHIN_S)
            values, units, keys, theta, image, two, missing = ask(
                one.state.path,
                "{str(name): one.values.tolist() for name, one in runs[-1]['primary'].read().items()}",
                "{str(name): one.attrs.get('units') for name, one in runs[-1]['primary'].read().items()}",
                "sorted(runs[-1]['primary'].metadata['data_keys'])",
                "runs[-1]['primary']['2theta'].read().tolist()",
                "[runs[-1]['primary']['image'].read().shape, str(runs[-1]['primary']['image'].dtype)]",
                "sorted(runs[-1]['primary'].read(['2theta']))",
                "str(__import__('concurrent.futures').futures.ThreadPoolExecutor()"
                ".submit(runs[-1].__getitem__, 'no').exception())",
            )
            assert missing == "\"this run has no stream 'no'; it has primary\""
            device_time = "time_33607480"  # the events' own time keeps its place in a Dataset
            assert values == {
                "2theta": [1.5, 2.5],
                "image": [[[1, 2], [3, 4]]] * 2,
                "trace": [[1.0, pytest.approx(math.nan, nan_ok=True)], [2.0, 3.0]],
                device_time: [2**60 + 1, 5],
                "note": ["none", 2.5],
            }
            assert (units["2theta"], units["image"], units["trace"]) == ("deg", "counts", None)
            assert keys == ["2theta", "image", "note", "time", "trace"]
            assert (theta, image, two) == ([1.5, 2.5], [[2, 2, 2], "int64"], ["2theta"])
            await asyncio.to_thread(_without_this_package, one.state.profiles)


PLAIN = """
import json, sys
import databroker
stream = databroker.from_profile("agent_service")[-1]["primary"]
names = {key: one.get("true_name", key) for key, one in stream.metadata["data_keys"].items()}
data = stream.read()
print(json.dumps([names, {key: data[key].values.tolist() for key in names}]))
assert "agent_service" not in sys.modules
"""


def _without_this_package(profiles):
    """Somebody else's databroker sees the columns, and the names in the metadata."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        env={**os.environ, "TILED_PROFILES": str(profiles)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    names, values = json.loads(done.stdout)
    assert names == {
        "x_2theta_5fc21043": "2theta",
        "image": "image",
        "trace": "trace",
        "time_33607480": "time",
        "note": "note",
    }, done.stderr
    assert values["x_2theta_5fc21043"] == [1.5, 2.5]
    assert values["image"] == [[[1, 2], [3, 4]]] * 2
    assert values["note"] == ['"none"', "2.5"]


async def test_agents_streams_are_read_under_true_names(tmp_path):
    outcome = "o" * 65
    async with rig(tmp_path / "state") as one:
        await one.decisions.session("s1")
        await one.decisions.create("walker", actuators=["2theta", "state", "Det", "det"], outcome=outcome)
        point = {"2theta": 1.5, "state": 2.5, "Det": 3.5, "det": 4.5}
        await one.journal.append("suggestion.state", "walker", {"id": "g", "state": "proposed", "point": point})
        await one.journal.append("ingest", "walker", {"points": [{**point, outcome: 5.5}], "run_uids": ["r"]})
        await one.decisions.create("other")
        await one.decisions.step("other", "h", "r2", x=7.5)
        async with started(one.archive()) as archive:
            await archive.drained(one.journal.last_seq, WITHIN_S)
            assert archive.status.decisions_refused == 0
            suggested, learned, others, events, start = ask(
                one.state.path,
                "{str(name): one.values.tolist() for name, one in agents[0]['suggest'].read().items()}",
                "{str(name): one.values.tolist() for name, one in agents[0]['ingest'].read().items()}",
                "agents[-1]['ingest'].read()['motor'].values.tolist()",
                "[doc['data'] for name, doc in agents[0].documents() if name == 'event']",
                "agents[0].start['outcome']",
            )
            own = [name for name in suggested if name.startswith("state_")]  # beside the decision's own state
            assert suggested["state"] == ["proposed"]
            assert suggested[own[0]] == [2.5]
            assert [suggested[name] for name in ("2theta", "Det", "det")] == [[1.5], [3.5], [4.5]]
            assert learned[outcome] == [5.5]
            assert others == [7.5]
            assert events[1][outcome] == 5.5
            assert start == [outcome]
