"""The whole chain with nothing but real peers: DCMTK sends, this node answers, Orthanc keeps and commits."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from scp_node.demo.orthanc import Orthanc
from scp_node.demo.ports import free_port
from scp_node.domain.delivery import ObjectKind
from scp_node.objects.text import sr_text
from tests.node.network import REPOSITORY, dataset_bytes, dcmtk, orthanc, run
from tests.system.node_process import NodeUnderTest, made_objects, node_under_test

pytestmark = pytest.mark.timeout(280)
IDENTITY = ("PatientID", "PatientName", "AccessionNumber")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A node with the shipped routes, and an Orthanc that it delivers to."""

    node: NodeUnderTest
    pacs: Orthanc
    pacs_http_port: int

    def forward(self, study_uid: str) -> None:
        """Have Orthanc send everything that it holds of a study to the node."""
        found = self._post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}})
        self._post("/modalities/node/store", {"Resources": found, "Synchronous": True})

    def _post(self, path: str, body: object) -> object:
        url = f"http://127.0.0.1:{self.pacs_http_port}{path}"
        with urllib.request.urlopen(url, data=json.dumps(body).encode(), timeout=60) as answer:
            return json.loads(answer.read())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    program, pacs_port, http_port = orthanc(), free_port(), free_port()
    routes = (REPOSITORY / "config" / "routes.toml").read_text()
    (tmp_path / "orthanc").mkdir()
    with node_under_test(
        tmp_path / "node",
        pacs_port=pacs_port,
        analysis="encode_time_limit_s = 120.0",
        memory_limit_gib=4.0,
        routes=routes,
    ) as node:
        pacs = Orthanc(program, tmp_path / "orthanc", port=pacs_port, http_port=http_port, node=("HAI_NODE", node.port))
        try:
            pacs.start()
            yield World(node=node, pacs=pacs, pacs_http_port=http_port)
        finally:
            pacs.stop()


def test_a_study_from_dcmtk_is_answered_in_orthanc_and_nothing_that_comes_back_changes_it(
    world: World, tmp_path: Path
) -> None:
    dcmsend, storescu = dcmtk("dcmsend"), dcmtk("storescu")
    phantom = tmp_path / "phantom"
    making = ["-m", "analyzers.phantoms", "scintigraphy", str(phantom), "--seed", "3", "--size", "small"]
    made = run([sys.executable, *making], timeout_s=200)
    assert made.returncode == 0, made.stderr
    study = str(json.loads((phantom / "truth.json").read_text())["study_instance_uid"])
    files = sorted(path for path in (phantom / "dicom").rglob("*") if path.is_file())

    target = ["-aet", "CT_1", "-aec", "HAI_NODE", "127.0.0.1", str(world.node.port)]
    sent = run([dcmsend, *target, *files])
    assert sent.returncode == 0, sent.stderr
    told = world.node.answered(study)

    (line,) = told.jobs
    assert line.job.analyzer == "scintigraphy"
    # Planar images have no frame of reference, so there is no segmentation of them.
    assert {each.kind for each in line.objects} == set(ObjectKind) - {ObjectKind.SEGMENTATION}
    source = pydicom.dcmread(files[0], stop_before_pixels=True)
    held = {}
    for content in world.pacs.fetch(study):
        answer = pydicom.dcmread(BytesIO(content))
        held[str(answer.SOPInstanceUID)] = content
        assert all(answer[keyword].value == source[keyword].value for keyword in IDENTITY)
    assert set(held) == set(made_objects(told))
    for each in line.objects:
        fetched = tmp_path / "fetched"
        fetched.write_bytes(held[each.sop_instance_uid])
        assert dataset_bytes(fetched) == dataset_bytes(world.node.data / each.file)
    reports = [sr_text(pydicom.dcmread(world.node.data / each.file)) for each in line.objects if each.kind.send_rank]
    assert all("liver" in text.lower() for text in reports)

    world.forward(study)
    again = run([storescu, *target, *files])
    assert again.returncode == 0, again.stderr
    returned = world.node.until(
        study,
        lambda told: sum(event.event == "own-object-returned" for event in told.events) == len(held),
        "everything to come back",
    )
    assert (returned.study.revision, returned.study.instance_count, len(returned.jobs)) == (1, len(files), 1)
    log = world.node.log.read_text()
    assert [keyword for keyword in IDENTITY if str(source[keyword].value) in log] == []
