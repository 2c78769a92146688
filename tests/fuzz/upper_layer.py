"""The checks before anything is believed: whatever comes, an answer or :class:`UpperLayerError`, nothing else."""

import struct

from tests.fuzz.engine import fuzz, instrumented

with instrumented(__name__):
    from scp_node.inbound.commands import store_request, store_response
    from scp_node.inbound.upper_layer import (
        MAX_REQUEST_BYTES,
        PDU_HEADER_BYTES,
        PDV_HEADER_BYTES,
        UpperLayerError,
        check_request,
        pdu_header,
        pdv_header,
    )

MAX_DATA_BYTES = 16_384


def consider(data: bytes) -> None:
    """The first byte chooses what is read."""
    chosen, content = data[:1], data[1:]
    try:
        match chosen:
            case b"R":
                titles = check_request(content)
                assert len(titles.called_ae) <= 16
                assert len(titles.calling_ae) <= 16
            case b"U":
                _consider_pdu_header(content[:PDU_HEADER_BYTES].ljust(PDU_HEADER_BYTES, b"\0"))
            case b"V":
                left_bytes = int.from_bytes(content[:2], "big")
                pdv = pdv_header(content[2:8].ljust(PDV_HEADER_BYTES, b"\0"), left_bytes=left_bytes)
                assert 0 <= pdv.value_bytes <= left_bytes - PDV_HEADER_BYTES
            case _:
                _consider_command(content)
    except UpperLayerError:
        return


def _consider_pdu_header(six_bytes: bytes) -> None:
    header = pdu_header(six_bytes, max_data_bytes=MAX_DATA_BYTES)
    assert header.length_bytes <= (MAX_DATA_BYTES if header.kind == 4 else MAX_REQUEST_BYTES)
    assert struct.unpack(">BxL", six_bytes) == (header.kind, header.length_bytes)


def _consider_command(content: bytes) -> None:
    request = store_request(content)
    if request is None:
        return
    # What the response says of the request is what the request said; both have the same message ID.
    response = store_response(request, 1, 0xC000, "a comment")
    pdu = pdu_header(response[:PDU_HEADER_BYTES], max_data_bytes=len(response))
    pdv = pdv_header(response[PDU_HEADER_BYTES : PDU_HEADER_BYTES + PDV_HEADER_BYTES], left_bytes=pdu.length_bytes)
    assert PDU_HEADER_BYTES + pdu.length_bytes == len(response)
    assert PDV_HEADER_BYTES + pdv.value_bytes == pdu.length_bytes
    assert store_request(response[PDU_HEADER_BYTES + PDV_HEADER_BYTES :]) is None
    assert struct.pack("<HHL", 0, 0x0120, 2) + request.message_id in response


if __name__ == "__main__":
    fuzz("upper_layer", consider)
