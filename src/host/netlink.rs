//! Asking the kernel over netlink: one question, all of its answers.

use std::{error::Error, io, os::fd::AsRawFd};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// The answers of a family to a question with these flags (`NLM_F_REQUEST` and the like). None for one that is acknowledged.
pub(super) fn ask<M>(family: SockProtocol, question: M, flags: u16) -> io::Result<Vec<M>>
where
    M: NetlinkSerializable + NetlinkDeserializable<Error: Error + Send + Sync + 'static> + Into<NetlinkPayload<M>>,
{
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, family)?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = 1;
    let mut packet = NetlinkMessage::new(header, question.into());
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    // Not connected: the kernel is where messages without an address go.
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    // The kernel fills at most 32 KiB for each answer (netlink(7), NLMSG_GOODSIZE and its dump buffer).
    let mut buffer = vec![0; 64 * 1024];
    let mut answers = Vec::new();
    loop {
        let count = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                // An error without a code acknowledges.
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                _ => {}
            }
            // Each message is padded to four bytes; one of length zero would never end.
            rest = rest.get(length.max(1).next_multiple_of(4)..).unwrap_or_default();
        }
        if count == 0 {
            return Ok(answers);
        }
    }
}
