"""A site, its receiver and its database, shared by the tests of one file; a file that needs others defines them."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from scp_node.store.database import Database
from tests.node.network import Receiver, Site, make_site, peers_toml, receiving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"), peers=peers_toml())


@pytest.fixture(scope="module")
def receiver(site: Site) -> Iterator[Receiver]:
    with receiving(site) as process:
        yield process


@pytest.fixture
def database(site: Site) -> Iterator[Database]:
    with closing(Database.open(site.data, migrate=False)) as opened:
        yield opened
