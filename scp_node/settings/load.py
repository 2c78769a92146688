"""Read the configuration files, gather every fault, and make one frozen ``Settings``."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, RootModel, ValidationError

from scp_node.domain.routing import Route
from scp_node.errors import Fault, SettingsError
from scp_node.settings.node import NodeSettings
from scp_node.settings.peers import Peer, PeersFile
from scp_node.settings.routes import RoutesFile
from scp_node.tls import TlsFilesError, server_context, validities

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "afs"}
)
"""File systems whose locks and syncs a database cannot rely on."""

File = TypeVar("File", bound=BaseModel)


class ThresholdsFile(RootModel[dict[str, dict[str, Any]]]):
    """The whole of ``thresholds.toml``: one table for each analyzer; what is in it the analyzers know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration, made once at start."""

    folder: Path
    """Where the files lie."""
    node: NodeSettings
    peers: Mapping[str, Peer]
    routes: tuple[Route, ...]
    release_peers: tuple[str, ...]
    """Peers for a study that a person releases although no route named any."""
    thresholds: Mapping[str, Mapping[str, Any]]
    """Analyzer → the thresholds that the site set otherwise, as ``thresholds.toml`` has them."""
    digest: str
    """SHA-256 over the files: names the configuration in the journal."""


def load_settings(
    folder: Path,
    *,
    known_analyzers: Collection[str] | None = None,
    check_thresholds: Callable[[Mapping[str, Any]], Sequence[Fault]] | None = None,
) -> Settings:
    """Read ``node.toml``, ``peers.toml``, ``routes.toml`` and, where there is one, ``thresholds.toml``.

    Parameters
    ----------
    folder : Path
        Folder that holds the files.
    known_analyzers : collection of str, optional
        Names that routes may use; ``None`` leaves the names unchecked.
    check_thresholds : function, optional
        Asks the analyzers, who alone know their thresholds, for the faults of ``thresholds.toml``; ``None`` leaves them
        unchecked.

    Raises
    ------
    SettingsError
        With every fault found in any of the files.
    """
    faults: list[Fault] = []
    digest = hashlib.sha256()
    node = _read(folder / "node.toml", NodeSettings, faults, digest)
    peers = _read(folder / "peers.toml", PeersFile, faults, digest)
    routes = _read(folder / "routes.toml", RoutesFile, faults, digest)
    thresholds = _read_thresholds(folder / "thresholds.toml", faults, digest)
    if check_thresholds is not None and thresholds:
        faults.extend(check_thresholds(thresholds))
    if node is not None:
        faults.extend(_node_faults(node))
    if peers is not None:
        faults.extend(_title_faults(peers))
    if node is not None and peers is not None:
        faults.extend(_peer_tls_faults(node, peers))
        if routes is not None:
            faults.extend(_ae_faults(node, peers, routes))
    if routes is not None:
        faults.extend(_route_faults(routes, known_analyzers))
    if peers is not None and routes is not None:
        faults.extend(_reference_faults(peers, routes))
    if faults or node is None or peers is None or routes is None:
        raise SettingsError(tuple(faults))
    return Settings(
        folder=folder,
        node=node,
        peers=peers.peer,
        routes=routes.routes(),
        release_peers=tuple(routes.deliver_to),
        thresholds=thresholds,
        digest=digest.hexdigest(),
    )


def _read(path: Path, model: type[File], faults: list[Fault], digest: Any) -> File | None:
    try:
        raw = path.read_bytes()
        digest.update(raw)
        return model.model_validate(tomllib.loads(raw.decode("utf-8")))
    except OSError as error:
        faults.append(
            Fault(what=f"cannot be read ({error.strerror})", file=path.name, key="", remedy=f"put it at {path}")
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(Fault(what=f"is not TOML: {error}", file=path.name, key="", remedy="mend the line that it names"))
    except ValidationError as error:
        faults.extend(_validation_faults(path.name, error, sorted(_keys_of(model))))
    return None


def _read_thresholds(path: Path, faults: list[Fault], digest: Any) -> dict[str, dict[str, Any]]:
    """The tables of the file; none, where there is no such file."""
    if not path.exists():
        return {}
    tables = _read(path, ThresholdsFile, faults, digest)
    return {} if tables is None else tables.root


def _keys_of(file: type[BaseModel]) -> set[str]:
    """Every key that a file may hold, in whatever table; a condition may hold conditions."""
    tables: set[type[BaseModel]] = set()
    waiting: list[object] = [file]
    while waiting:
        kind = waiting.pop()
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            waiting.extend(get_args(kind))
        elif kind not in tables:
            tables.add(kind)
            waiting.extend(field.annotation for field in kind.model_fields.values())
    return {key for table in tables for key in table.model_fields}


def _in_plain_words(kind: str, told: str) -> str:
    """What would be right, for the mistakes that happen; the library speaks of inputs and strings."""
    words = {
        "int_type": "write a whole number, without quotes",
        "float_type": "write a number, without quotes",
        "bool_type": "write true or false, without quotes",
        "string_type": "write a text, in quotes",
        "tuple_type": "write a list, in brackets",
    }
    return words.get(kind, told.replace("Input should", "it should"))


def _validation_faults(file: str, error: ValidationError, keys: Sequence[str]) -> Iterator[Fault]:
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in detail["loc"]) or "(file)"
        match detail["type"]:
            case "missing":
                what, remedy = "is missing", "add it; config/README.md explains each key"
            case "extra_forbidden":
                near = get_close_matches(str(detail["loc"][-1]), keys, n=1)
                what, remedy = "is not a known key", "remove it or mend its spelling; config/README.md lists the keys"
                remedy = f"did you mean {near[0]}?" if near else remedy
            case "value_error":
                what, remedy = "is not right", str(detail["ctx"]["error"]) if "ctx" in detail else detail["msg"]
            case _:
                what, remedy = f"is {detail['input']!r}", _in_plain_words(detail["type"], detail["msg"])
        yield Fault(what=what, file=file, key=key, remedy=remedy)


def _node_faults(node: NodeSettings) -> Iterator[Fault]:
    folder = node.data_folder
    program = Path(__file__).resolve().parents[2]
    if folder.resolve().is_relative_to(program):
        yield _node_fault(
            "data_folder", "lies inside the program's folder", "choose one outside, e.g. /var/lib/hai-node"
        )
    elif (kind := _file_system(folder)) in NETWORK_FILE_SYSTEMS:
        yield _node_fault("data_folder", f"lies on a network file system ({kind})", "choose a local disk")
    quiet = node.completion
    shortest_s = min(quiet.quiet_ct_s, quiet.quiet_mr_s, quiet.quiet_nm_s, quiet.quiet_other_s)
    if quiet.quiet_when_complete_s > shortest_s:
        remedy = f"at most {shortest_s:g}: finding a study complete may shorten the wait, never lengthen it"
        yield _node_fault("completion.quiet_when_complete_s", "is longer than another quiet time", remedy)
    yield from _tls_faults(node)
    if len(set(node.receiving.ae_titles)) != len(node.receiving.ae_titles):
        yield _node_fault("receiving.ae_titles", "names a title twice", "name each once")
    if node.retention.held_warning_d >= node.retention.held_d:
        remedy = "choose it below held_d, so that the alarm comes before the purge"
        yield _node_fault("retention.held_warning_d", "is not below held_d", remedy)


def _tls_faults(node: NodeSettings) -> Iterator[Fault]:
    if node.tls is None:
        if not node.receiving.without_tls:
            yield _node_fault("receiving.without_tls", "closes the only port", "set it to true, or add a [tls] table")
        return
    if node.receiving.without_tls and node.tls.port == node.receiving.port:
        yield _node_fault("tls.port", "is the port without TLS", "choose another, e.g. 2762")
    try:
        server_context(node.tls)
        validities(node.tls)
    except TlsFilesError as error:
        yield _node_fault("tls", str(error), "see docs/install.md for how the files are made")


def _peer_tls_faults(node: NodeSettings, peers: PeersFile) -> Iterator[Fault]:
    for name, peer in peers.peer.items():
        if node.tls is None and (peer.tls or peer.certificate_names):
            key = f"peer.{name}.{'tls' if peer.tls else 'certificate_names'}"
            yield Fault(what="needs TLS", file="peers.toml", key=key, remedy="add a [tls] table to node.toml")


def _node_fault(key: str, what: str, remedy: str) -> Fault:
    return Fault(what=what, file="node.toml", key=key, remedy=remedy)


def _title_faults(peers: PeersFile) -> Iterator[Fault]:
    titles: dict[str, str] = {}
    for name, peer in peers.peer.items():
        if peer.ae_title in titles and peer.may_send and peers.peer[titles[peer.ae_title]].may_send:
            remedy = f"one AE title, one sender: merge it with peer.{titles[peer.ae_title]}"
            yield Fault(what="repeats an AE title", file="peers.toml", key=f"peer.{name}.ae_title", remedy=remedy)
        titles.setdefault(peer.ae_title, name)


def _route_faults(routes: RoutesFile, known: Collection[str] | None) -> Iterator[Fault]:
    names: set[str] = set()
    for index, table in enumerate(routes.route):
        if table.name in names:
            yield Fault(
                what=f"repeats {table.name!r}", file="routes.toml", key=f"route.{index}.name", remedy="rename it"
            )
        names.add(table.name)
        for analyzer in table.analyze or ():
            if known is not None and analyzer not in known:
                remedy = f"installed are {', '.join(sorted(known)) or 'none'}; install a new one's entry point"
                what = f"names the unknown analyzer {analyzer!r}"
                yield Fault(what=what, file="routes.toml", key=f"route.{index}.analyze", remedy=remedy)


def _reference_faults(peers: PeersFile, routes: RoutesFile) -> Iterator[Fault]:
    receiving = sorted(name for name, peer in peers.peer.items() if peer.receives)
    for index, table in enumerate(routes.route):
        yield from _peer_faults(table.deliver_to, receiving, f"route.{index}.deliver_to")
    yield from _peer_faults(routes.deliver_to, receiving, "deliver_to")
    if not routes.deliver_to and any(table.hold is not None for table in routes.route):
        remedy = "name at the top of the file the peers that get the answer of a held study which a person releases"
        yield Fault(what="is missing", file="routes.toml", key="deliver_to", remedy=remedy)


def _ae_faults(node: NodeSettings, peers: PeersFile, routes: RoutesFile) -> Iterator[Fault]:
    """Titles that no association can have: the route would never be taken, and nothing would say so."""
    ours, theirs = node.receiving.ae_titles, [peer.ae_title for peer in peers.peer.values()]
    conditions = [(f"route.{index}.when", table.when) for index, table in enumerate(routes.route)]
    conditions += [(f"condition.{name}", table) for name, table in routes.condition.items()]
    for key, condition in conditions:
        for table in condition.with_parts():
            for title in table.called_ae or ():
                if title not in ours:
                    remedy = f"the titles of this node are {', '.join(ours)} (receiving.ae_titles of node.toml)"
                    yield Fault(
                        what=f"asks for {title!r}, which no caller can call", file="routes.toml", key=key, remedy=remedy
                    )
            for title in table.calling_ae or ():
                if title not in theirs:
                    remedy = f"the titles of peers.toml are {', '.join(theirs) or 'none'}"
                    yield Fault(
                        what=f"asks for {title!r}, which is no peer's", file="routes.toml", key=key, remedy=remedy
                    )


def _peer_faults(names: Sequence[str], receiving: list[str], key: str) -> Iterator[Fault]:
    for name in names:
        if name not in receiving:
            remedy = f"peers with host and port are {', '.join(receiving) or 'none'}"
            yield Fault(what=f"names {name!r}, which receives nothing", file="routes.toml", key=key, remedy=remedy)


def _file_system(folder: Path) -> str:
    """Type of the file system that holds the folder, from the mount table; empty where there is none."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    best, kind = -1, ""
    for line in mounts:
        fields = line.split()
        point = Path(fields[1].replace("\\040", " "))
        if place.is_relative_to(point) and len(point.parts) > best:
            best, kind = len(point.parts), fields[2]
    return kind
