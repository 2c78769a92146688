"""The configuration: TOML files, validated together, one frozen ``Settings``.

``node.py`` describes ``node.toml``, ``peers.py`` ``peers.toml``, ``routes.py`` ``routes.toml``; ``load.py`` reads them
and ``thresholds.toml``, and reports every fault at once. Nothing here is global: a ``Settings`` is made once and handed
on.
"""

from scp_node.settings.load import Settings, load_settings
from scp_node.settings.node import (
    AnalysisSettings,
    CompletionSettings,
    DeliverySettings,
    MetricsSettings,
    NodeSettings,
    ObjectSettings,
    ReceivingSettings,
    RetentionSettings,
    TlsSettings,
)
from scp_node.settings.peers import Peer, Verification

__all__ = [
    "AnalysisSettings",
    "CompletionSettings",
    "DeliverySettings",
    "MetricsSettings",
    "NodeSettings",
    "ObjectSettings",
    "Peer",
    "ReceivingSettings",
    "RetentionSettings",
    "Settings",
    "TlsSettings",
    "Verification",
    "load_settings",
]
