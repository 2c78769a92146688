"""The upper layer provider at the moments that the library's state machine has no rule for."""

import pytest
from pynetdicom import AE

from scp_node.inbound.reactor import PromptAssociation, PromptProvider


@pytest.mark.parametrize("state", ["Sta1", "Sta13"])
def test_an_abort_of_what_is_over_already_ends_it(state: str) -> None:
    provider = PromptProvider(PromptAssociation(AE("NODE"), PromptProvider))
    provider.state_machine.current_state = state

    provider.act_on("Evt15")
    provider.start()
    provider.join(timeout=10.0)

    assert not provider.is_alive()
    assert provider.state_machine.current_state == state
