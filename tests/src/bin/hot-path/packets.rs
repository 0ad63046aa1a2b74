//! Packets to test-run programs with.

/// An Ethernet frame with a UDP datagram.
pub fn udp_packet(payload: u16) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(40_000u16.to_be_bytes());
    transport.extend(9u16.to_be_bytes());
    transport.extend((8 + payload).to_be_bytes());
    transport.extend([0, 0]);
    packet(17, &transport, payload)
}

/// The same with a TCP segment.
pub fn tcp_packet(payload: u16) -> Vec<u8> {
    let mut transport = Vec::new();
    transport.extend(40_000u16.to_be_bytes());
    transport.extend(9u16.to_be_bytes());
    // Sequence and acknowledgement, five words of header, ACK.
    transport.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    packet(6, &transport, payload)
}

fn packet(protocol: u8, transport: &[u8], payload: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0]);
    frame.extend((20 + transport.len() as u16 + payload).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend([10, 254, 0, 1, 10, 254, 0, 2]);
    frame.extend(transport);
    frame.resize(frame.len() + usize::from(payload), 0);
    frame
}
