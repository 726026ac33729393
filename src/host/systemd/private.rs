//! systemd's private socket, for when the system bus is down.
//!
//! systemd signs what it sends there as `org.freedesktop.systemd1`. D-Bus allows only unique names as senders, and zbus
//! ends the connection on any other: a relay gives the sender a name that is one, of the same length.

use std::{io, path::Path};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy},
    net::UnixStream,
};

/// The header field with the sender: its code 7, the signature `s`, and the text with its length (in both byte orders
/// the signature is the same). Source: D-Bus specification, "Header Fields".
const SENDER: [u8; 4] = [7, 1, b's', 0];
const NAME: &[u8] = b"org.freedesktop.systemd1";
/// Header fields are a few names and a signature: more is no message of systemd's.
const LONGEST_FIELDS: u32 = 64 * 1024;

/// Connects, and relays until either side hangs up.
pub(super) async fn connect(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let systemd = UnixStream::connect(path).await?;
    let (ours, theirs) = UnixStream::pair()?;
    tokio::spawn(async move {
        let (from_systemd, mut to_systemd) = systemd.into_split();
        let (mut from_us, to_us) = theirs.into_split();
        tokio::select! {
            _ = copy(&mut from_us, &mut to_systemd) => {}
            _ = relay(from_systemd, to_us) => {}
        }
    });
    ours.into_std()
}

/// Passes on the lines of the authentication, and then messages with their sender renamed.
async fn relay(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut from = BufReader::new(from);
    // A message begins with its byte order, `l` or `B`; no line of the authentication does.
    while !matches!(from.fill_buf().await?.first(), Some(b'l' | b'B')) {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        to.write_all(&line).await?;
    }
    loop {
        let mut fixed = [0; 16];
        from.read_exact(&mut fixed).await?;
        let number = |at: usize| {
            let bytes = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
            if fixed[0] == b'B' { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (body, fields) = (number(4), number(12));
        if fields > LONGEST_FIELDS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Fields are padded to eight bytes.
        let mut fields = vec![0; fields.next_multiple_of(8) as usize];
        from.read_exact(&mut fields).await?;
        rename_sender(&mut fields);
        to.write_all(&fixed).await?;
        to.write_all(&fields).await?;
        copy(&mut (&mut from).take(body.into()), &mut to).await?;
    }
}

/// Makes `:rg.freedesktop.systemd1` of `org.freedesktop.systemd1`.
fn rename_sender(fields: &mut [u8]) {
    let length = SENDER.len() + 4;
    let at = fields.windows(length + NAME.len()).position(|field| field.starts_with(&SENDER) && field.ends_with(NAME));
    if let Some(first) = at.and_then(|at| fields.get_mut(at + length)) {
        *first = b':';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signal as systemd sends it, in either byte order.
    fn message(sender: &str, body: &[u8], order: u8) -> Vec<u8> {
        let number = |number: usize| {
            let number = u32::try_from(number).unwrap();
            if order == b'B' { number.to_be_bytes() } else { number.to_le_bytes() }
        };
        let mut fields = vec![7, 1, b's', 0];
        fields.extend(number(sender.len()));
        fields.extend(sender.as_bytes());
        fields.push(0);
        let mut message = vec![order, 4, 1, 1];
        message.extend(number(body.len()));
        message.extend(number(1));
        message.extend(number(fields.len()));
        fields.resize(fields.len().next_multiple_of(8), 0);
        message.extend(fields);
        message.extend(body);
        message
    }

    #[tokio::test]
    async fn only_the_sender_is_renamed() {
        let tricky = message("org.freedesktop.systemd1", b"", b'l');
        let sent = |name| {
            let messages = [message(name, &tricky, b'l'), message(name, b"", b'B'), message(":1.7", b"x", b'l')];
            [b"OK 0123\r\nAGREE_UNIX_FD\r\n".to_vec(), messages.concat()].concat()
        };
        let mut received = Vec::new();
        let error = relay(sent("org.freedesktop.systemd1").as_slice(), &mut received).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(received, sent(":rg.freedesktop.systemd1"));
    }

    #[tokio::test]
    async fn a_refusal_passes_and_nonsense_ends_it() {
        let mut received = Vec::new();
        relay(&b"REJECTED EXTERNAL\r\n"[..], &mut received).await.unwrap();
        assert_eq!(received, b"REJECTED EXTERNAL\r\n");
        let nonsense = [b'l'; 64];
        assert_eq!(relay(&nonsense[..], &mut received).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
